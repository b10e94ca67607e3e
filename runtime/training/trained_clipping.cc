#include "runtime/training/trained_clipping.h"

#include <algorithm>

#include "runtime/base/parallel.h"
#include "runtime/quantize/coded_rows.h"

namespace bitbudget {

TrainedClipping::TrainedClipping(const Matrix<float>& original, const Encoding& start)
    : original_(original), start_(start), groups_(start.format.GroupsPerRow(start.cols)) {
  const FormatLevels levels(start.format);
  highs_.kind = lows_.kind = ParameterKind::kLogScales;
  for (int64_t row = 0; row < start.rows; ++row) {
    const std::vector<IntegerGrid> grids = CodedRow::Read(start, levels, row).IntegerGrids();
    for (int64_t g = 0; g < groups_; ++g) {
      const GroupClipping& clipping =
          clippings_.emplace_back(Group(original_, row, g), start.format);
      const GroupClipping::Logits logits = clipping.LogitsOf(grids[g]);
      highs_.values.push_back(static_cast<float>(logits.high));
      if (start.format.zero_point) lows_.values.push_back(static_cast<float>(logits.low));
      signs_.push_back(logits.sign);
    }
  }
}

std::span<const float> TrainedClipping::Group(const Matrix<float>& m,
                                              int64_t row,
                                              int64_t group) const {
  const int64_t size = start_.format.GroupSize(start_.cols);
  const int64_t begin = group * size;
  return {m.data() + row * m.cols() + begin, static_cast<size_t>(std::min(size, m.cols() - begin))};
}

std::vector<ParameterArray*> TrainedClipping::parameters() {
  if (lows_.values.empty()) return {&highs_};
  return {&highs_, &lows_};
}

void TrainedClipping::Decode(int threads, Matrix<float>* image) const {
  image->resize(start_.rows, start_.cols);
  ParallelFor(ThreadsFor(threads, image->size()), start_.rows, [&](int64_t row, int) {
    float* to = image->data() + row * start_.cols;
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t index = row * groups_ + g;
      const std::span<const float> weights = Group(original_, row, g);
      const std::span<float> decoded(to, weights.size());
      RoundingErrors(
          weights, clippings_[index].GridOf(LogitsOf(index)).grid, start_.format, decoded);
      for (size_t j = 0; j < weights.size(); ++j) decoded[j] += weights[j];
      to += weights.size();
    }
  });
}

void TrainedClipping::Backward(const Matrix<float>& d_image, int threads) {
  highs_.gradient.resize(highs_.values.size());
  lows_.gradient.resize(lows_.values.size());
  ParallelFor(ThreadsFor(threads, d_image.size()), start_.rows, [&](int64_t row, int) {
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t index = row * groups_ + g;
      const GroupClipping::Logits logits = LogitsOf(index);
      const GroupClipping::Logits gradient =
          clippings_[index].Backward(Group(original_, row, g),
                                     logits,
                                     clippings_[index].GridOf(logits),
                                     Group(d_image, row, g),
                                     {});
      highs_.gradient[index] = static_cast<float>(gradient.high);
      if (!lows_.values.empty()) lows_.gradient[index] = static_cast<float>(gradient.low);
    }
  });
}

void TrainedClipping::SetOriginal(const Matrix<float>& original, int threads) {
  original_ = original;
  ParallelFor(ThreadsFor(threads, original.size()), start_.rows, [&](int64_t row, int) {
    for (int64_t g = 0; g < groups_; ++g) {
      clippings_[row * groups_ + g] = GroupClipping(Group(original_, row, g), start_.format);
    }
  });
}

Matrix<float> TrainedClipping::WeightGradient(const Matrix<float>& d_image, int threads) const {
  Matrix<float> gradient(d_image.rows(), d_image.cols());
  ParallelFor(ThreadsFor(threads, d_image.size()), start_.rows, [&](int64_t row, int) {
    float* to = gradient.data() + row * start_.cols;
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t index = row * groups_ + g;
      const std::span<const float> weights = Group(original_, row, g);
      const GroupClipping::Logits logits = LogitsOf(index);
      clippings_[index].Backward(weights,
                                 logits,
                                 clippings_[index].GridOf(logits),
                                 Group(d_image, row, g),
                                 {to, weights.size()});
      to += weights.size();
    }
  });
  return gradient;
}

Encoding TrainedClipping::Encode(int threads) const {
  Encoding encoding = start_;
  const FormatLevels levels(start_.format);
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    std::vector<IntegerGrid> grids;
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t index = row * groups_ + g;
      grids.push_back(clippings_[index].GridOf(LogitsOf(index)).grid);
    }
    const std::span<const float> weights(original_.data() + row * start_.cols,
                                         static_cast<size_t>(start_.cols));
    CodedRow::Round(weights, grids, levels).Write(levels, row, &encoding);
  });
  return encoding;
}

}  // namespace bitbudget
