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

// Inputs whose codes are widened at a time. For many rows the levels of the widest tile's panels,
// 32 bytes an input each, pass from the second-level cache; for few they stay in the first.
constexpr int64_t kWideStretch = 4096;
constexpr int64_t kNarrowStretch = 128;
constexpr int64_t kNarrowBlocks = 2;

static_assert(kRowBlock % kTileRows == 0);

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The inputs [begin, end) of a product, whole flush groups; `levels` are those of the panels at
// hand where codes are widened.
struct Stretch {
  int64_t begin;
  int64_t end;
  const int16_t* levels;
};

// The 6-row block `block` of x times the panels [panel, panel + count), minimums left out. Adds to
// y behind the first stretch.
void TileLevels(const KernelTable& kernels,
                const PackedActivations& x,
                int64_t block,
                int rows,
                const WeightPanels& w,
                int64_t panel,
                int64_t count,
                const Stretch& stretch,
                float* y,
                int64_t ldy) {
  const int64_t codes = block * x.padded_k * kTileRows;
  const int64_t groups = block * x.groups() * kTileRows;
  if (w.path == Path::kF32) {
    const int64_t stride = w.padded_k * kPanelWidth;
    return kernels.tile_f32(x.f32.data() + codes,
                            w.f32.data() + panel * stride,
                            stride,
                            w.k,
                            rows,
                            count,
                            /*accumulate=*/false,
                            y,
                            ldy);
  }
  if (!x.wide) {
    return kernels.tile_int8(x.i8.data() + codes,
                             x.scales.data() + groups,
                             x.sums.data() + groups,
                             CodesFrom(w, panel),
                             rows,
                             count,
                             y,
                             ldy);
  }
  const int64_t scale_stride = w.flush_groups * kPanelWidth;
  const int64_t first_group = stretch.begin / w.flush;
  const int64_t inputs = stretch.end - stretch.begin;
  const int64_t scale_step = w.path == Path::kInt8 ? kTileRows : 0;
  const Int16Panels panels = {
      .codes = stretch.levels,
      .code_stride = inputs * kPanelWidth,
      .scales = w.scales.data() + panel * scale_stride + first_group * kPanelWidth,
      .scale_stride = scale_stride,
      .inputs = inputs,
      .flush = w.flush};
  kernels.tile_i16(x.i16.data() + codes + stretch.begin * kTileRows,
                   x.scales.data() + groups + first_group * scale_step,
                   scale_step,
                   panels,
                   rows,
                   count,
                   /*accumulate=*/stretch.begin > 0,
                   y,
                   ldy);
}

// The same with minimums: the sums of activations times the negated minimums, added group by group
// behind the last stretch.
void Tile(const KernelTable& kernels,
          const PackedActivations& x,
          int64_t block,
          int rows,
          const WeightPanels& w,
          int64_t panel,
          int64_t count,
          const Stretch& stretch,
          float* y,
          int64_t ldy) {
  TileLevels(kernels, x, block, rows, w, panel, count, stretch, y, ldy);
  if (w.minimum_group == 0 || stretch.end < w.padded_k) return;
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
              Stretch stretch,
              float* y,
              int64_t ldy) {
  float* out = y + block * kTileRows * ldy + panel * kPanelWidth;
  const int64_t whole = std::min(count, w.n / kPanelWidth - panel);
  if (whole > 0) Tile(kernels, x, block, rows, w, panel, whole, stretch, out, ldy);
  if (whole == count) return;
  alignas(64) float buffer[kTileRows * kPanelWidth];
  const size_t left = w.n % kPanelWidth * sizeof(float);
  for (int r = 0; r < rows && stretch.begin > 0; ++r) {
    std::memcpy(buffer + r * kPanelWidth, out + r * ldy + whole * kPanelWidth, left);
  }
  if (x.wide) stretch.levels += whole * (stretch.end - stretch.begin) * kPanelWidth;
  Tile(kernels, x, block, rows, w, panel + whole, 1, stretch, buffer, kPanelWidth);
  for (int r = 0; r < rows; ++r) {
    std::memcpy(out + r * ldy + whole * kPanelWidth, buffer + r * kPanelWidth, left);
  }
}

// The panels [begin, end) for the rows [first_block * 6, last_row), codes widened stretch by
// stretch.
void WidenAndMultiply(const KernelTable& kernels,
                      const PackedActivations& x,
                      int64_t first_block,
                      int64_t last_row,
                      const WeightPanels& w,
                      int64_t begin,
                      int64_t end,
                      float* y,
                      int64_t ldy) {
  const int64_t blocks = CeilDiv(last_row - first_block * kTileRows, kTileRows);
  const int64_t wanted = blocks <= kNarrowBlocks ? kNarrowStretch : kWideStretch;
  const int64_t inputs = std::max<int64_t>(wanted / w.flush, 1) * w.flush;
  const int64_t width = blocks <= 1 ? kMaxTilePanels : kernels.six_row_panels;
  thread_local AlignedBuffer<int16_t> levels;
  levels.Resize(width * std::min(inputs, w.padded_k) * kPanelWidth);
  for (int64_t panel = begin; panel < end; panel += width) {
    const int64_t count = std::min(width, end - panel);
    const CodePanels codes = CodesFrom(w, panel);
    for (int64_t from = 0; from < w.padded_k; from += inputs) {
      const Stretch stretch = {from, std::min(from + inputs, w.padded_k), levels.data()};
      kernels.unpack_codes(codes, stretch.begin, stretch.end, count, levels.data());
      for (int64_t block = first_block; block < first_block + blocks; ++block) {
        const int64_t rows = std::min<int64_t>(kTileRows, last_row - block * kTileRows);
        TileInto(kernels, x, block, static_cast<int>(rows), w, panel, count, stretch, y, ldy);
      }
    }
  }
}

// The sums of a block's codes over groups of `group` inputs, times their scales, f32[group][6].
// Codes are [k / kStep][6][kStep], where groups are whole quads; the scales of input i are
// scales[i / scale_group * 6 + row]. Sums are exact: at most kMaxBlock codes of 15 bits.
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
  const bool grouped = packing.path == Path::kInt8;
  CHECK(grouped ? packing.group > 0 && packing.group % kCodeStep == 0 : packing.group == 0)
      << "group " << packing.group;
  CHECK(packing.sum_group == 0 ||
        (packing.path != Path::kF32 && packing.path != Path::kNone && k % packing.sum_group == 0 &&
         (!grouped || packing.group % packing.sum_group == 0)))
      << "sums of " << packing.sum_group;
  const KernelTable& kernels = Kernels();
  const int64_t blocks = CeilDiv(m, kTileRows);
  const bool has_runs = RunOf(packing.rounding) > 0;
  const bool rounds_floats = packing.rounding != InputRounding::kNone && packing.path == Path::kF32;
  CHECK(packing.rounding == InputRounding::kNone || rounds_floats ||
        (has_runs && packing.path == Path::kInt8));
  if (packing.token_bits != 0 || rounds_floats) {
    std::vector<float> rounded(m * k);
    for (int64_t row = 0; row < m; ++row) {
      std::copy_n(x + row * ldx, k, rounded.begin() + row * k);
    }
    if (packing.token_bits != 0) RoundPerToken(rounded.data(), k, m, k, packing.token_bits);
    packing.token_bits = 0;
    if (rounds_floats) {
      RoundToFloats(packing.rounding, m, k, rounded.data());
      packing.rounding = InputRounding::kNone;
    }
    PackActivations(packing, rounded.data(), k, m, k, out);
    out->packing = asked;
    return;
  }
  out->packing = packing;
  out->m = m;
  out->k = k;
  out->padded_k = CeilDiv(k, kInputPad) * kInputPad;
  out->wide = packing.path == Path::kInt16 ||
              (packing.path == Path::kInt8 && packing.code_bits > kernels.int8_code_bits);
  if (packing.path == Path::kNone) return;
  const int64_t block_size = out->padded_k * kTileRows;
  const int64_t block_groups = out->groups() * kTileRows;
  if (packing.path == Path::kF32) {
    out->f32.Resize(blocks * block_size);
  } else if (out->wide) {
    out->i16.Resize(blocks * block_size);
  } else {
    out->i8.Resize(blocks * block_size);
    out->sums.Resize(blocks * block_groups);
  }
  out->scales.Resize(blocks * block_groups);
  const int64_t block_sums = out->sum_groups() * kTileRows;
  out->group_sums.Resize(blocks * block_sums);
  if (packing.rounding != InputRounding::kNone) return PackCodes(x, ldx, out);
  const int64_t scale_group = grouped ? packing.group : out->padded_k;
  for (int64_t block = 0; block < blocks; ++block) {
    const float* from = x + block * kTileRows * ldx;
    const int rows = static_cast<int>(std::min<int64_t>(kTileRows, m - block * kTileRows));
    const int64_t codes = block * block_size;
    float* scales = out->scales.data() + block * block_groups;
    if (packing.path == Path::kF32) {
      kernels.pack_f32(from, ldx, rows, k, out->padded_k, out->f32.data() + codes);
    } else if (out->wide) {
      kernels.pack_i16(from,
                       ldx,
                       rows,
                       k,
                       out->padded_k,
                       scale_group,
                       grouped ? kMaxInt8Code : kMaxInt16Code,
                       out->i16.data() + codes,
                       scales);
    } else {
      kernels.pack_i8(from,
                      ldx,
                      rows,
                      k,
                      out->padded_k,
                      scale_group,
                      out->i8.data() + codes,
                      scales,
                      out->sums.data() + block * block_groups);
    }
    if (packing.sum_group == 0) continue;
    float* const group_sums = out->group_sums.data() + block * block_sums;
    if (!out->wide) {
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
    if (x.wide) {
      WidenAndMultiply(kernels, x, first, row + rows, w, begin, end, y, ldy);
      return;
    }
    const Stretch whole = {0, w.padded_k, nullptr};
    for (int64_t panel = begin; panel < end; panel += kernels.six_row_panels) {
      const int64_t count = std::min<int64_t>(kernels.six_row_panels, end - panel);
      for (int64_t block = first; block < last; ++block) {
        TileInto(kernels, x, block, kTileRows, w, panel, count, whole, y, ldy);
      }
    }
    if (tail > 0) TileInto(kernels, x, last, tail, w, begin, end - begin, whole, y, ldy);
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
        x[(row + r) * ldx + i] = packed.scales[r] * static_cast<float>(packed.WideCode(r, i));
      }
    }
  }
}

}  // namespace bitbudget
