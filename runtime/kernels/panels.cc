#include "runtime/kernels/panels.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "runtime/tensor/block_format.h"

namespace bitbudget {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

WeightPanels EmptyPanels(Path path, int64_t n, int64_t k) {
  CHECK_GE(n, 0);
  CHECK_GE(k, 0);
  WeightPanels out;
  out.path = path;
  out.n = n;
  out.k = k;
  out.padded_k = RoundUp(k, kInputPad);
  out.panels = RoundUp(n, kPanelWidth) / kPanelWidth;
  return out;
}

// Inputs per flush group: a whole group of the format when it may be summed at once, else the
// largest part of one that has whole quads, so that no flush group touches two scales.
int FlushInputs(const Format& format, int64_t k) {
  const int64_t group = format.GroupSize(k);
  if (format.IsBlock()) {
    static_assert(kMaxBlock <= kMaxFlush);
    return static_cast<int>(group);
  }
  if (group >= k) return kMaxFlush;
  for (int flush = kMaxFlush; flush > 0; flush -= 4) {
    if (group % flush == 0) return flush;
  }
  LOG(FATAL) << "groups of " << group << " have no panels";
}

// f32 panels of the rows that `read_row` writes.
WeightPanels PackRows(int64_t n,
                      int64_t k,
                      const std::function<void(int64_t, std::span<float>)>& read_row) {
  WeightPanels out = EmptyPanels(Path::kF32, n, k);
  out.f32.Resize(out.panels * out.padded_k * kPanelWidth);
  // The rows of a panel are read first and turned around in memory order: panels are made again
  // whenever memory is short. A stride off the powers of two keeps them apart in the cache.
  const int64_t stride = k + kPanelWidth;
  std::vector<float> rows(kPanelWidth * stride);
  for (int64_t panel = 0; panel < out.panels; ++panel) {
    const int64_t count = std::min<int64_t>(kPanelWidth, n - panel * kPanelWidth);
    for (int64_t r = 0; r < count; ++r) {
      read_row(panel * kPanelWidth + r, std::span(rows).subspan(r * stride, k));
    }
    std::fill(rows.begin() + count * stride, rows.end(), 0.0f);
    float* to = out.f32.data() + panel * out.padded_k * kPanelWidth;
    for (int64_t j = 0; j < k; ++j, to += kPanelWidth) {
      for (int64_t r = 0; r < kPanelWidth; ++r) to[r] = rows[r * stride + j];
    }
    std::fill_n(to, (out.padded_k - k) * kPanelWidth, 0.0f);
  }
  return out;
}

// Where the scales of flush groups go, [panel][flush group][16]; those of the padding stay 0.
void InitGroups(int flush, WeightPanels* out) {
  out->flush = flush;
  out->flush_groups = (out->padded_k + flush - 1) / flush;
  out->scales.Resize(out->panels * out->flush_groups * kPanelWidth);
  out->scales.Fill(0);
}

int64_t GroupOffset(const WeightPanels& w, int64_t row) {
  return row / kPanelWidth * w.flush_groups * kPanelWidth + row % kPanelWidth;
}

// The integer parts of the rows of an encoding, and its minimums into their panel.
class RowUnpacker {
 public:
  RowUnpacker(const Encoding& encoding, WeightPanels* out)
      : encoding_(encoding),
        out_(out),
        levels_(encoding.cols),
        scales_(encoding.format.GroupsPerRow(encoding.cols)),
        minimums_(encoding.format.HasMinimums() ? scales_.size() : 0) {
    if (minimums_.empty()) return;
    out_->minimum_group = static_cast<int>(encoding.format.GroupSize(encoding.cols));
    out_->minimums.Resize(out_->panels * out_->minimum_groups() * kPanelWidth);
    out_->minimums.Fill(0);
  }

  void Read(int64_t row) {
    UnpackIntegerRow(encoding_, row, levels_, scales_, minimums_);
    if (minimums_.empty()) return;
    float* to = out_->minimums.data() + row / kPanelWidth * out_->minimum_groups() * kPanelWidth +
                row % kPanelWidth;
    for (size_t g = 0; g < minimums_.size(); ++g) to[g * kPanelWidth] = -minimums_[g];
  }

  std::span<const int16_t> levels() const { return levels_; }
  std::span<const float> scales() const { return scales_; }

 private:
  const Encoding& encoding_;
  WeightPanels* out_;
  std::vector<int16_t> levels_;
  std::vector<float> scales_;
  std::vector<float> minimums_;
};

bool FitsFourBits(const Format& format) {
  if (format.IsInteger()) return format.bits <= 4;
  const BlockTraits& traits = BlockTraitsOf(format);
  return traits.levels == nullptr && (traits.codes - 1) * traits.step <= kMaxUint4Code;
}

// The code of level 0 in formats without zero points of their own.
int ZeroCode(const Format& format, int code_bits) {
  if (code_bits == 8) {
    // Levels up to 255 leave no room for a middle.
    const BlockTraits* traits = format.IsBlock() ? &BlockTraitsOf(format) : nullptr;
    const bool unsigned_bytes = traits != nullptr && traits->Level(0) == 0 && traits->codes == 256;
    return unsigned_bytes ? 0 : (kMaxUint8Code + 1) / 2;
  }
  return format.IsBlock() ? -BlockTraitsOf(format).Level(0) : 1 << (format.bits - 1);
}

int CodeBits(const Format& format, int flush) {
  return FitsFourBits(format) && flush % 8 == 0 ? 4 : 8;
}

WeightPanels PackLevels(const Encoding& encoding, Path path, int max_flush = kMaxFlush) {
  WeightPanels out = EmptyPanels(path, encoding.rows, encoding.cols);
  const Format& format = encoding.format;
  InitGroups(std::min(FlushInputs(format, out.k), max_flush), &out);
  out.code_bits = CodeBits(format, out.flush);
  const int max_code = out.code_bits == 4 ? kMaxUint4Code : kMaxUint8Code;
  const int panel_bytes_per_input = kPanelWidth * out.code_bits / 8;
  out.codes.Resize(out.panels * out.padded_k * panel_bytes_per_input);
  out.codes.Fill(0);
  out.one_zero = !format.zero_point;
  out.zeros.Resize(out.one_zero ? kPanelWidth : out.scales.size());
  const int zero_code = ZeroCode(format, out.code_bits);
  out.zeros.Fill(static_cast<float>(format.zero_point ? 0 : zero_code));

  if (out.k == 0) return out;  // rows without inputs have no codes to point at
  const int64_t group = format.GroupSize(out.k);
  RowUnpacker row(encoding, &out);
  for (int64_t i = 0; i < out.n; ++i) {
    row.Read(i);
    const std::span<const int16_t> levels = row.levels();
    uint8_t* code_to = out.codes.data() + i / kPanelWidth * out.padded_k * panel_bytes_per_input +
                       i % kPanelWidth * 4;
    for (int64_t begin = 0; begin < out.k; begin += out.flush) {
      const int64_t end = std::min(begin + out.flush, out.k);
      const int64_t at = GroupOffset(out, i) + begin / out.flush * kPanelWidth;
      out.scales[at] = row.scales()[begin / group];
      int zero = zero_code;
      if (format.zero_point) {
        zero = -*std::min_element(levels.begin() + begin, levels.begin() + end);
        out.zeros[at] = static_cast<float>(zero);
      }
      for (int64_t j = begin; j < end; ++j) {
        const int code = levels[j] + zero;
        CHECK(code >= 0 && code <= max_code) << format.Name() << " code " << code;
        if (out.code_bits == 8) {
          code_to[j / 4 * 4 * kPanelWidth + j % 4] = static_cast<uint8_t>(code);
        } else {
          code_to[j / 8 * 4 * kPanelWidth + j % 4] |= static_cast<uint8_t>(code << (j % 8 / 4 * 4));
        }
      }
    }
  }
  return out;
}

}  // namespace

CodePanels CodesFrom(const WeightPanels& w, int64_t panel) {
  const int64_t stride = w.padded_k * kPanelWidth * w.code_bits / 8;
  const int64_t scale_stride = w.flush_groups * kPanelWidth;
  const int64_t zero_stride = w.one_zero ? 0 : scale_stride;
  return {.codes = w.codes.data() + panel * stride,
          .code_stride = stride,
          .scales = w.scales.data() + panel * scale_stride,
          .scale_stride = scale_stride,
          .zeros = w.zeros.data() + panel * zero_stride,
          .zero_stride = zero_stride,
          .zero_step = w.one_zero ? 0 : kPanelWidth,
          .padded_k = w.padded_k,
          .code_bits = w.code_bits,
          .group = w.flush};
}

int64_t CodePanelBytes(const Format& format, int64_t n, int64_t k, int max_flush) {
  const int flush = std::min(FlushInputs(format, k), max_flush);
  const int64_t rows = RoundUp(n, kPanelWidth);
  const int64_t cols = RoundUp(k, kInputPad);
  const int64_t groups = RoundUp(cols, flush) / flush;
  const int64_t minimums = format.HasMinimums() ? cols / format.GroupSize(k) : 0;
  const int64_t zeros = format.zero_point ? rows * groups : kPanelWidth;
  return rows * (cols * CodeBits(format, flush) / 8 + (groups + minimums) * 4) + zeros * 4;
}

WeightPanels PackWeights(const Encoding& encoding) {
  if (!encoding.format.HasLevels()) return PackWeightsF32(encoding);
  return PackLevels(encoding, Path::kInt16);
}

WeightPanels PackWeightsInt8(const Encoding& encoding) {
  if (!encoding.format.HasLevels()) return PackWeightsF32(encoding);
  return PackLevels(encoding, Path::kInt8);
}

WeightPanels PackWeightsLlamaCpp(const Encoding& encoding) {
  const InputRounding rounding = LlamaCppRounding(encoding.format);
  if (rounding == InputRounding::kNone) return PackWeights(encoding);
  WeightPanels panels = encoding.format.IsBlock()
                            ? PackLevels(encoding, Path::kInt8, RunOf(rounding))
                            : PackWeightsF32(encoding);
  panels.rounding = rounding;
  return panels;
}

WeightPanels PackWeightsF32(const Encoding& encoding) {
  if (encoding.format.kind == FormatKind::kRemoved) {
    return EmptyPanels(Path::kNone, encoding.rows, encoding.cols);
  }
  WeightPanels panels =
      PackRows(encoding.rows, encoding.cols, [&](int64_t row, std::span<float> out) {
        DecodeReferenceRow(encoding, row, out);
      });
  panels.layer_norm = encoding.format.layer_norm;
  return panels;
}

WeightPanels PackWeightsF32(const TensorView& weights) {
  return PackRows(weights.rows, weights.cols, [&](int64_t row, std::span<float> out) {
    weights.ReadRow(row, out);
  });
}

}  // namespace bitbudget
