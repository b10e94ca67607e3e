#include "runtime/training/trained_floats.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <span>

#include "runtime/base/float16.h"
#include "runtime/quantize/sparse_codes.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

constexpr float kLargestHalf = 65504.0f;
constexpr float kLargestBFloat16 = 3.3895314e38f;

// The bits of a float in a float format; beyond the largest value, those of the largest.
uint32_t BitsOf(float value, FormatKind kind) {
  switch (kind) {
    case FormatKind::kF16:
      return FloatToHalf(std::clamp(value, -kLargestHalf, kLargestHalf));
    case FormatKind::kBF16:
      return FloatToBFloat16(std::clamp(value, -kLargestBFloat16, kLargestBFloat16));
    default:
      return std::bit_cast<uint32_t>(value);
  }
}

}  // namespace

TrainedFloats::TrainedFloats(const Matrix<float>& original,
                             const Encoding& start,
                             TrainedParts parts)
    : start_(start), parts_(parts), kept_(original.size()) {
  weights_.values.resize(original.size());
  DecodeReference(start, weights_.values);
  weights_.unit = RootMeanSquare(original);
  if (!start.format.IsSparse()) {
    CHECK(start.format == kFormatF32) << start.format.Name();
    std::fill(kept_.begin(), kept_.end(), uint8_t{1});
    return;
  }
  SparseReader reader(start);
  for (int64_t row = 0; row < start.rows; ++row) {
    reader.Read(row);
    for (const int64_t column : reader.columns()) kept_[row * start.cols + column] = 1;
  }
}

std::vector<ParameterArray*> TrainedFloats::parameters() {
  if (!parts_.weights) return {};
  return {&weights_};
}

void TrainedFloats::Decode(int /*threads*/, Matrix<float>* image) const {
  image->resize(start_.rows, start_.cols);
  for (size_t i = 0; i < kept_.size(); ++i) {
    image->data()[i] = kept_[i] != 0 ? weights_.values[i] : 0.0f;
  }
}

void TrainedFloats::Backward(const Matrix<float>& d_image, int /*threads*/) {
  weights_.gradient.resize(weights_.values.size());
  for (size_t i = 0; i < kept_.size(); ++i) {
    weights_.gradient[i] = kept_[i] != 0 ? d_image.data()[i] : 0.0f;
  }
}

Encoding TrainedFloats::Encode(int /*threads*/) const {
  Encoding encoding = start_;
  if (!start_.format.IsSparse()) {
    const std::span<const std::byte> values = std::as_bytes(std::span(weights_.values));
    std::transform(values.begin(), values.end(), encoding.bytes.begin(), [](std::byte byte) {
      return std::to_integer<uint8_t>(byte);
    });
    return encoding;
  }
  const SparseLayout layout(start_.format, start_.rows, start_.cols);
  std::fill(encoding.bytes.begin() + layout.codes_offset, encoding.bytes.end(), uint8_t{0});
  std::vector<uint32_t> codes;
  std::vector<int64_t> first_codes = {0};
  for (int64_t row = 0; row < start_.rows; ++row) {
    for (int64_t at = row * start_.cols; at < (row + 1) * start_.cols; ++at) {
      if (kept_[at] != 0) codes.push_back(BitsOf(weights_.values[at], start_.format.kind));
    }
    first_codes.push_back(static_cast<int64_t>(codes.size()));
  }
  WriteSparseCodes(codes, first_codes, &encoding);
  return encoding;
}

}  // namespace bitbudget
