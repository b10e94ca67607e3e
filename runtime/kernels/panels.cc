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
// largest even part of one, so that no flush group touches two scales.
int FlushInputs(const Format& format, int64_t k) {
  const int64_t group = format.GroupSize(k);
  if (format.IsBlock()) {
    static_assert(kMaxBlock <= kMaxFlush);
    return static_cast<int>(group);
  }
  if (group >= k) return kMaxFlush;
  for (int flush = kMaxFlush; flush > 0; flush -= 2) {
    if (group % flush == 0) return flush;
  }
  LOG(FATAL) << "odd group size " << group << " has no int16 panels";
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

WeightPanels PackInteger(const Encoding& encoding, Path path, int max_flush = kMaxFlush) {
  WeightPanels out = EmptyPanels(path, encoding.rows, encoding.cols);
  InitGroups(std::min(FlushInputs(encoding.format, out.k), max_flush), &out);
  out.i16.Resize(out.panels * out.padded_k * kPanelWidth);
  out.i16.Fill(0);

  const int64_t group = encoding.format.GroupSize(out.k);
  RowUnpacker row(encoding, &out);
  for (int64_t i = 0; i < out.n; ++i) {
    row.Read(i);
    int16_t* code_to =
        out.i16.data() + i / kPanelWidth * out.padded_k * kPanelWidth + i % kPanelWidth * 2;
    for (int64_t j = 0; j < out.k; ++j) {
      code_to[j / 2 * 2 * kPanelWidth + j % 2] = row.levels()[j];
    }
    float* scale_to = out.scales.data() + GroupOffset(out, i);
    for (int64_t j = 0; j < out.k; j += out.flush) {
      scale_to[j / out.flush * kPanelWidth] = row.scales()[j / group];
    }
  }
  return out;
}

// The code of level 0 in kUint4 panels of a format whose levels are fixed.
int Uint4Zero(const Format& format) {
  return format.IsBlock() ? -BlockTraitsOf(format.kind).Level(0) : 1 << (format.bits - 1);
}

bool HasUint4Panels(const Format& format) {
  const int64_t group = format.IsBlock() ? format.GroupSize(0) : format.group;
  if (group == 0 || group % kInputPad != 0 || group > kMaxFlush) return false;
  if (format.IsInteger()) return format.bits <= 4;
  const BlockTraits& traits = BlockTraitsOf(format.kind);
  return traits.levels == nullptr && (traits.codes - 1) * traits.step <= kMaxUint4Code;
}

WeightPanels PackUint4(const Encoding& encoding) {
  WeightPanels out = EmptyPanels(Path::kUint4, encoding.rows, encoding.cols);
  const Format& format = encoding.format;
  InitGroups(static_cast<int>(format.IsBlock() ? format.GroupSize(0) : format.group), &out);
  out.u4.Resize(out.panels * out.padded_k / 2 * kPanelWidth);
  out.u4.Fill(0);
  out.zeros.Resize(format.zero_point ? out.scales.size() : kPanelWidth);
  out.zeros.Fill(static_cast<float>(format.zero_point ? 0 : Uint4Zero(format)));

  RowUnpacker row(encoding, &out);
  for (int64_t i = 0; i < out.n; ++i) {
    row.Read(i);
    const std::span<const int16_t> levels = row.levels();
    uint8_t* code_to =
        out.u4.data() + i / kPanelWidth * (out.padded_k / 2 * kPanelWidth) + i % kPanelWidth * 4;
    for (int64_t begin = 0; begin < out.k; begin += out.flush) {
      const int64_t end = std::min(begin + out.flush, out.k);
      const int64_t at = GroupOffset(out, i) + begin / out.flush * kPanelWidth;
      out.scales[at] = row.scales()[begin / out.flush];
      int zero;
      if (format.zero_point) {
        zero = -*std::min_element(levels.begin() + begin, levels.begin() + end);
        out.zeros[at] = static_cast<float>(zero);
      } else {
        zero = Uint4Zero(format);
      }
      for (int64_t j = begin; j < end; ++j) {
        const int code = levels[j] + zero;
        CHECK(code >= 0 && code <= kMaxUint4Code) << format.Name() << " code " << code;
        code_to[j / 8 * 4 * kPanelWidth + j % 4] |= static_cast<uint8_t>(code << (j % 8 / 4 * 4));
      }
    }
  }
  return out;
}

}  // namespace

WeightPanels PackWeights(const Encoding& encoding) {
  if (!encoding.format.HasLevels()) return PackWeightsF32(encoding);
  return PackInteger(encoding, Path::kInt16);
}

WeightPanels PackWeightsInt8(const Encoding& encoding) {
  if (!encoding.format.HasLevels()) return PackWeightsF32(encoding);
  return HasUint4Panels(encoding.format) ? PackUint4(encoding) : PackInteger(encoding, Path::kInt8);
}

WeightPanels PackWeightsLlamaCpp(const Encoding& encoding) {
  const InputRounding rounding = LlamaCppRounding(encoding.format);
  if (rounding == InputRounding::kNone) return PackWeights(encoding);
  WeightPanels panels = encoding.format.IsBlock()
                            ? PackInteger(encoding, Path::kInt8, RunOf(rounding))
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
