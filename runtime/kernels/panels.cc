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

WeightPanels PackInteger(const Encoding& encoding) {
  WeightPanels out = EmptyPanels(Path::kInt16, encoding.rows, encoding.cols);
  out.flush = FlushInputs(encoding.format, out.k);
  out.flush_groups = (out.padded_k + out.flush - 1) / out.flush;
  out.i16.Resize(out.panels * out.padded_k * kPanelWidth);
  out.i16.Fill(0);
  out.scales.Resize(out.panels * out.flush_groups * kPanelWidth);
  out.scales.Fill(0);

  const int64_t group = encoding.format.GroupSize(out.k);
  std::vector<int16_t> codes(out.k);
  std::vector<float> scales(encoding.format.GroupsPerRow(out.k));
  for (int64_t i = 0; i < out.n; ++i) {
    UnpackIntegerRow(encoding, i, codes, scales);
    const int64_t panel = i / kPanelWidth;
    const int64_t lane = i % kPanelWidth;
    int16_t* code_to = out.i16.data() + panel * out.padded_k * kPanelWidth + 2 * lane;
    for (int64_t j = 0; j < out.k; ++j) code_to[j / 2 * 2 * kPanelWidth + j % 2] = codes[j];
    float* scale_to = out.scales.data() + panel * out.flush_groups * kPanelWidth + lane;
    // Flush groups that lie wholly in the padding keep scale 0.
    for (int64_t j = 0; j < out.k; j += out.flush) {
      scale_to[j / out.flush * kPanelWidth] = scales[j / group];
    }
  }
  return out;
}

}  // namespace

WeightPanels PackWeights(const Encoding& encoding) {
  return encoding.format.IsInteger() ? PackInteger(encoding) : PackWeightsF32(encoding);
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
