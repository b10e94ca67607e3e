#include "runtime/kernels/linear.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/kernels/pack_codes.h"
#include "runtime/kernels/table.h"
#include "runtime/kernels/token_rounding.h"

namespace bitbudget {
namespace {

// Rows whose packed activations are kept in the second-level cache while all panels pass: 240 rows
// x 2048 inputs are 1 MB (int16). On a Zen 5 the f32 path loses 5% with 48 rows and 10% with 24.
constexpr int64_t kRowBlock = 240;
// Multiply-adds that pay for waking a thread, which takes some ten microseconds.
constexpr int64_t kMinMacsPerThread = 1 << 20;

// Panels that a thread takes at a time: few enough that threads finish together, and as many as the
// widest tile works on at once.
constexpr int64_t kPanelChunk = kMaxTilePanels;

static_assert(kRowBlock % kTileRows == 0);

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The 6-row block `block` of x times the panels [panel, panel + count), minimums left out.
void TileLevels(const KernelTable& kernels,
                const PackedActivations& x,
                int64_t block,
                int rows,
                const WeightPanels& w,
                int64_t panel,
                int64_t count,
                float* y,
                int64_t ldy) {
  const int64_t stride = w.padded_k * kPanelWidth;
  const int64_t scale_stride = w.flush_groups * kPanelWidth;
  const int64_t codes = block * x.padded_k * kTileRows;
  const int64_t groups = block * x.groups() * kTileRows;
  switch (w.path) {
    case Path::kF32:
      return kernels.tile_f32(x.f32.data() + codes,
                              w.f32.data() + panel * stride,
                              stride,
                              w.k,
                              rows,
                              count,
                              /*accumulate=*/false,
                              y,
                              ldy);
    case Path::kInt16:
    case Path::kInt8: {
      const Int16Panels panels = {.codes = w.i16.data() + panel * stride,
                                  .code_stride = stride,
                                  .scales = w.scales.data() + panel * scale_stride,
                                  .scale_stride = scale_stride,
                                  .padded_k = w.padded_k,
                                  .flush = w.flush};
      return kernels.tile_i16(x.i16.data() + codes,
                              x.scales.data() + groups,
                              w.path == Path::kInt8 ? kTileRows : 0,
                              panels,
                              rows,
                              count,
                              y,
                              ldy);
    }
    case Path::kUint4: {
      const bool one_zero = w.zeros.size() == kPanelWidth;
      const int64_t zero_stride = one_zero ? 0 : scale_stride;
      const Uint4Panels panels = {.codes = w.u4.data() + panel * (stride / 2),
                                  .code_stride = stride / 2,
                                  .scales = w.scales.data() + panel * scale_stride,
                                  .scale_stride = scale_stride,
                                  .zeros = w.zeros.data() + panel * zero_stride,
                                  .zero_stride = zero_stride,
                                  .zero_step = one_zero ? 0 : kPanelWidth,
                                  .padded_k = w.padded_k,
                                  .group = w.flush};
      return kernels.tile_u4(x.i8.data() + codes,
                             x.scales.data() + groups,
                             x.sums.data() + groups,
                             panels,
                             rows,
                             count,
                             y,
                             ldy);
    }
    case Path::kNone:
      LOG(FATAL) << "removed matrices have no panels";
  }
}

// The same with minimums: the sums of activations times the negated minimums, added group by group.
void Tile(const KernelTable& kernels,
          const PackedActivations& x,
          int64_t block,
          int rows,
          const WeightPanels& w,
          int64_t panel,
          int64_t count,
          float* y,
          int64_t ldy) {
  TileLevels(kernels, x, block, rows, w, panel, count, y, ldy);
  if (w.minimum_group == 0) return;
  const int64_t stride = w.minimum_groups() * kPanelWidth;
  kernels.tile_f32(x.group_sums.data() + block * x.sum_groups() * kTileRows,
                   w.minimums.data() + panel * stride,
                   stride,
                   w.minimum_groups(),
                   rows,
                   count,
                   /*accumulate=*/true,
                   y,
                   ldy);
}

// The same into y[m][n]: a last panel that is wider than what is left of y goes through a buffer.
void TileInto(const KernelTable& kernels,
              const PackedActivations& x,
              int64_t block,
              int rows,
              const WeightPanels& w,
              int64_t panel,
              int64_t count,
              float* y,
              int64_t ldy) {
  float* out = y + block * kTileRows * ldy + panel * kPanelWidth;
  const int64_t whole = std::min(count, w.n / kPanelWidth - panel);
  if (whole > 0) Tile(kernels, x, block, rows, w, panel, whole, out, ldy);
  if (whole == count) return;
  alignas(64) float buffer[kTileRows * kPanelWidth];
  Tile(kernels, x, block, rows, w, panel + whole, 1, buffer, kPanelWidth);
  for (int r = 0; r < rows; ++r) {
    std::memcpy(out + r * ldy + whole * kPanelWidth,
                buffer + r * kPanelWidth,
                w.n % kPanelWidth * sizeof(float));
  }
}

// The sums of a block's codes over groups of `group` inputs, times their scales, f32[group][6].
// Codes are [k / kStep][6][kStep]; the scales of input i are scales[i / scale_group * 6 + row].
// Sums are exact: at most kMaxBlock codes of 15 bits.
template <int kStep, typename Code>
void SumGroups(const Code* codes,
               int64_t padded_k,
               int64_t group,
               const float* scales,
               int64_t scale_group,
               float* out) {
  for (int64_t begin = 0; begin < padded_k; begin += group, out += kTileRows) {
    int32_t sums[kTileRows] = {};
    for (int64_t i = begin; i < begin + group; i += kStep) {
      const Code* at = codes + i * kTileRows;
      for (int r = 0; r < kTileRows; ++r) {
        for (int j = 0; j < kStep; ++j) sums[r] += at[r * kStep + j];
      }
    }
    const float* scale = scales + begin / scale_group * kTileRows;
    for (int r = 0; r < kTileRows; ++r) out[r] = static_cast<float>(sums[r]) * scale[r];
  }
}

// x[n] - mean over sqrt(variance + eps), as OneBit's layers do (arXiv 2402.11295, section 3.2).
// Sums run in double in the order of outputs, and this file is compiled for the baseline, so every
// tier gives the same bits.
void NormalizeRow(float* y, int64_t n) {
  constexpr double kEpsilon = 1e-5;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += y[i];
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += (y[i] - mean) * (y[i] - mean);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + kEpsilon);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>((y[i] - mean) * factor);
}

}  // namespace

void PackActivations(ActivationPacking packing,
                     const float* x,
                     int64_t ldx,
                     int64_t m,
                     int64_t k,
                     PackedActivations* out) {
  CHECK_GE(ldx, k);
  const ActivationPacking asked = packing;
  const bool grouped = packing.path == Path::kInt8 || packing.path == Path::kUint4;
  CHECK(grouped ? packing.group > 0 && packing.group % kCodeStep == 0 : packing.group == 0)
      << "group " << packing.group;
  CHECK(packing.sum_group == 0 ||
        (packing.path != Path::kF32 && packing.path != Path::kNone && k % packing.sum_group == 0 &&
         (!grouped || packing.group % packing.sum_group == 0)))
      << "sums of " << packing.sum_group;
  const KernelTable& kernels = Kernels();
  const int64_t blocks = CeilDiv(m, kTileRows);
  const bool has_runs = RunOf(packing.rounding) > 0;
  CHECK(packing.rounding == InputRounding::kNone ||
        packing.path == (has_runs ? Path::kInt8 : Path::kF32));
  if (packing.token_bits != 0 || (packing.rounding != InputRounding::kNone && !has_runs)) {
    std::vector<float> rounded(m * k);
    for (int64_t row = 0; row < m; ++row) {
      std::copy_n(x + row * ldx, k, rounded.begin() + row * k);
    }
    if (packing.token_bits != 0) RoundPerToken(rounded.data(), k, m, k, packing.token_bits);
    if (!has_runs) RoundToFloats(packing.rounding, m * k, rounded.data());
    packing.token_bits = 0;
    if (!has_runs) packing.rounding = InputRounding::kNone;
    PackActivations(packing, rounded.data(), k, m, k, out);
    out->packing = asked;
    return;
  }
  out->packing = packing;
  out->m = m;
  out->k = k;
  out->padded_k = CeilDiv(k, kInputPad) * kInputPad;
  if (packing.path == Path::kNone) return;
  const int64_t block_size = out->padded_k * kTileRows;
  const int64_t block_groups = out->groups() * kTileRows;
  if (packing.path == Path::kF32) {
    out->f32.Resize(blocks * block_size);
  } else if (packing.path == Path::kUint4) {
    out->i8.Resize(blocks * block_size);
    out->sums.Resize(blocks * block_groups);
  } else {
    out->i16.Resize(blocks * block_size);
  }
  out->scales.Resize(blocks * block_groups);
  const int64_t block_sums = out->sum_groups() * kTileRows;
  out->group_sums.Resize(blocks * block_sums);
  if (has_runs) return PackCodes(x, ldx, out);
  const int64_t scale_group = grouped ? packing.group : out->padded_k;
  for (int64_t block = 0; block < blocks; ++block) {
    const float* from = x + block * kTileRows * ldx;
    const int rows = static_cast<int>(std::min<int64_t>(kTileRows, m - block * kTileRows));
    const int64_t codes = block * block_size;
    float* scales = out->scales.data() + block * block_groups;
    switch (packing.path) {
      case Path::kF32:
        kernels.pack_f32(from, ldx, rows, k, out->padded_k, out->f32.data() + codes);
        break;
      case Path::kInt16:
        kernels.pack_i16(from,
                         ldx,
                         rows,
                         k,
                         out->padded_k,
                         /*group=*/out->padded_k,
                         kMaxInt16Code,
                         out->i16.data() + codes,
                         scales);
        break;
      case Path::kInt8:
        kernels.pack_i16(from,
                         ldx,
                         rows,
                         k,
                         out->padded_k,
                         packing.group,
                         kMaxInt8Code,
                         out->i16.data() + codes,
                         scales);
        break;
      case Path::kUint4:
        kernels.pack_i8(from,
                        ldx,
                        rows,
                        k,
                        out->padded_k,
                        packing.group,
                        out->i8.data() + codes,
                        scales,
                        out->sums.data() + block * block_groups);
        break;
      case Path::kNone:
        break;
    }
    if (packing.sum_group == 0) continue;
    float* const group_sums = out->group_sums.data() + block * block_sums;
    if (packing.path == Path::kUint4) {
      SumGroups<4>(out->i8.data() + codes,
                   out->padded_k,
                   packing.sum_group,
                   scales,
                   scale_group,
                   group_sums);
    } else {
      SumGroups<2>(out->i16.data() + codes,
                   out->padded_k,
                   packing.sum_group,
                   scales,
                   scale_group,
                   group_sums);
    }
  }
}

void Linear(const PackedActivations& x, const WeightPanels& w, float* y, int64_t ldy, int threads) {
  threads = static_cast<int>(
      std::clamp<int64_t>(x.m * w.n * w.k / kMinMacsPerThread, 1, std::max(threads, 1)));
  ActivationPacking wanted = w.packing();
  if (w.path == Path::kF32) wanted.rounding = x.packing.rounding;
  CHECK(x.packing == wanted) << "activations and weights are packed for different products";
  CHECK_EQ(x.k, w.k);
  CHECK_GE(ldy, w.n);
  if (w.path == Path::kNone) {
    for (int64_t row = 0; row < x.m; ++row) std::fill_n(y + row * ldy, w.n, 0.0f);
    return;
  }
  const KernelTable& kernels = Kernels();
  const int64_t chunks = CeilDiv(w.panels, kPanelChunk);
  const int64_t row_blocks = CeilDiv(x.m, kRowBlock);
  // Items go out in increasing order: the panels of one block of rows, then the next block.
  ParallelFor(threads, row_blocks * chunks, [&](int64_t item, int) {
    const int64_t row = item / chunks * kRowBlock;
    const int64_t rows = std::min(kRowBlock, x.m - row);
    const int64_t first = row / kTileRows;
    const int64_t last = first + rows / kTileRows;
    const int tail = static_cast<int>(rows % kTileRows);
    const int64_t begin = item % chunks * kPanelChunk;
    const int64_t end = std::min(begin + kPanelChunk, w.panels);
    for (int64_t panel = begin; panel < end; panel += kernels.six_row_panels) {
      const int64_t count = std::min<int64_t>(kernels.six_row_panels, end - panel);
      for (int64_t block = first; block < last; ++block) {
        TileInto(kernels, x, block, kTileRows, w, panel, count, y, ldy);
      }
    }
    if (tail > 0) TileInto(kernels, x, last, tail, w, begin, end - begin, y, ldy);
  });
  if (!w.layer_norm) return;
  ParallelFor(threads, x.m, [&](int64_t row, int) { NormalizeRow(y + row * ldy, w.n); });
}

void RoundActivationsInt16(float* x, int64_t ldx, int64_t m, int64_t k) {
  CHECK_GE(ldx, k);
  PackedActivations packed;
  for (int64_t row = 0; row < m; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, m - row);
    PackActivations(Path::kInt16, x + row * ldx, ldx, rows, k, &packed);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < k; ++i) {
        const int16_t code = packed.i16[i / 2 * 2 * kTileRows + 2 * r + i % 2];
        x[(row + r) * ldx + i] = packed.scales[r] * static_cast<float>(code);
      }
    }
  }
}

}  // namespace bitbudget
