#include "planner/jobs/held_formats.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

constexpr float kLargestHalf = 65504.0f;

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

HeldFormats::HeldFormats(const Model& model, std::span<const int> components)
    : model_(model), encoder_(MakeRtnEncoder()) {
  CHECK(!components.empty());
  largest_ = components[0];
  for (const ComponentId id : components) {
    if (model.LargestMagnitude(id) > model.LargestMagnitude(largest_)) largest_ = id;
    if (model.LargestMagnitude(id) <= kLargestHalf) continue;
    const TensorView& weights = model.Weight(id);
    std::vector<float> values(weights.cols);
    for (int64_t row = 0; row < weights.rows; ++row) {
      weights.ReadRow(row, values);
      if (LargestMagnitude(values) > kLargestHalf) rows_.push_back({id, values});
    }
    model.ReleasePages(id);
  }
}

absl::Status HeldFormats::Check(const Format& format) const {
  for (const auto& [id, values] : rows_) {
    if (format == model_.Weight(id).format) continue;  // copied as it is
    const TensorView row = ViewOf(values, 1, static_cast<int64_t>(values.size()));
    const absl::Status status = encoder_->Encode(row, format).status();
    if (status.ok()) continue;
    return absl::InvalidArgumentError(absl::StrCat(model_.component(id).name,
                                                   " has weights up to ",
                                                   LargestMagnitude(values),
                                                   ", which ",
                                                   format.Name(),
                                                   " cannot hold"));
  }
  return absl::OkStatus();
}

std::string HeldFormats::Describe() const {
  return absl::StrCat(
      model_.component(largest_).name, " has weights up to ", model_.LargestMagnitude(largest_));
}

}  // namespace bitbudget
