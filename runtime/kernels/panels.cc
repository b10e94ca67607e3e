#include "runtime/kernels/panels.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

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

// Inputs per flush group: a whole format group when it may be summed at once, else the largest even
// part of one, so that no flush group touches two scales.
int FlushInputs(const Format& format, int64_t k) {
  if (format.group == 0 || format.group >= k) return kMaxFlush;
  for (int flush = kMaxFlush; flush > 0; flush -= 2) {
    if (format.group % flush == 0) return flush;
  }
  LOG(FATAL) << "odd group size " << format.group << " has no int16 panels";
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

WeightPanels PackInteger(const Encoding& encoding, Path path) {
  WeightPanels out = EmptyPanels(path, encoding.rows, encoding.cols);
  InitGroups(FlushInputs(encoding.format, out.k), &out);
  out.i16.Resize(out.panels * out.padded_k * kPanelWidth);
  out.i16.Fill(0);

  const int64_t group = encoding.format.GroupSize(out.k);
  std::vector<int16_t> codes(out.k);
  std::vector<float> scales(encoding.format.GroupsPerRow(out.k));
  for (int64_t i = 0; i < out.n; ++i) {
    UnpackIntegerRow(encoding, i, codes, scales);
    int16_t* code_to =
        out.i16.data() + i / kPanelWidth * out.padded_k * kPanelWidth + i % kPanelWidth * 2;
    for (int64_t j = 0; j < out.k; ++j) code_to[j / 2 * 2 * kPanelWidth + j % 2] = codes[j];
    float* scale_to = out.scales.data() + GroupOffset(out, i);
    for (int64_t j = 0; j < out.k; j += out.flush) {
      scale_to[j / out.flush * kPanelWidth] = scales[j / group];
    }
  }
  return out;
}

bool HasUint4Panels(const Format& format) {
  return format.bits <= 4 && format.group > 0 && format.group % kInputPad == 0 &&
         format.group <= kMaxFlush;
}

WeightPanels PackUint4(const Encoding& encoding) {
  WeightPanels out = EmptyPanels(Path::kUint4, encoding.rows, encoding.cols);
  const Format& format = encoding.format;
  InitGroups(format.group, &out);
  out.u4.Resize(out.panels * out.padded_k / 2 * kPanelWidth);
  out.u4.Fill(0);
  out.zeros.Resize(format.zero_point ? out.scales.size() : kPanelWidth);
  out.zeros.Fill(static_cast<float>(format.zero_point ? 0 : 1 << (format.bits - 1)));

  std::vector<int16_t> centered(out.k);
  std::vector<float> scales(format.GroupsPerRow(out.k));
  for (int64_t i = 0; i < out.n; ++i) {
    UnpackIntegerRow(encoding, i, centered, scales);
    uint8_t* code_to =
        out.u4.data() + i / kPanelWidth * (out.padded_k / 2 * kPanelWidth) + i % kPanelWidth * 4;
    for (int64_t begin = 0; begin < out.k; begin += out.flush) {
      const int64_t end = std::min(begin + out.flush, out.k);
      const int64_t at = GroupOffset(out, i) + begin / out.flush * kPanelWidth;
      out.scales[at] = scales[begin / out.flush];
      int zero = 1 << (format.bits - 1);
      if (format.zero_point) {
        zero = -*std::min_element(centered.begin() + begin, centered.begin() + end);
        out.zeros[at] = static_cast<float>(zero);
      }
      for (int64_t j = begin; j < end; ++j) {
        const int code = centered[j] + zero;
        CHECK(code >= 0 && code <= kMaxUint4Code) << format.Name() << " code " << code;
        code_to[j / 8 * 4 * kPanelWidth + j % 4] |= static_cast<uint8_t>(code << (j % 8 / 4 * 4));
      }
    }
  }
  return out;
}

}  // namespace

WeightPanels PackWeights(const Encoding& encoding) {
  return encoding.format.IsInteger() ? PackInteger(encoding, Path::kInt16)
                                     : PackWeightsF32(encoding);
}

WeightPanels PackWeightsInt8(const Encoding& encoding) {
  if (!encoding.format.IsInteger()) return PackWeightsF32(encoding);
  return HasUint4Panels(encoding.format) ? PackUint4(encoding) : PackInteger(encoding, Path::kInt8);
}

WeightPanels PackWeightsF32(const Encoding& encoding) {
  return PackRows(encoding.rows, encoding.cols, [&](int64_t row, std::span<float> out) {
    DecodeReferenceRow(encoding, row, out);
  });
}

WeightPanels PackWeightsF32(const TensorView& weights) {
  return PackRows(weights.rows, weights.cols, [&](int64_t row, std::span<float> out) {
    weights.ReadRow(row, out);
  });
}

}  // namespace bitbudget
