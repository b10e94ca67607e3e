#include "runtime/model/weights.h"

#include <glog/logging.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace bitbudget {

absl::StatusOr<Activations> ParseActivations(absl::string_view name) {
  if (name == "int16") return Activations::kInt16;
  if (name == "int8") return Activations::kInt8;
  if (name == "f32") return Activations::kF32;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown activations '", name, "'; known are: int16, int8, f32"));
}

const char* ActivationsName(Activations activations) {
  switch (activations) {
    case Activations::kInt16:
      return "int16";
    case Activations::kInt8:
      return "int8";
    case Activations::kF32:
      break;
  }
  return "f32";
}

WeightPanels PackWeightsFor(const Encoding& encoding, Activations activations) {
  switch (activations) {
    case Activations::kInt16:
      return PackWeights(encoding);
    case Activations::kInt8:
      return PackWeightsInt8(encoding);
    case Activations::kF32:
      break;
  }
  return PackWeightsF32(encoding);
}

WeightUse UseOf(const Model& model, ComponentId id) {
  if (model.component(id).kind != ComponentKind::kEmbedding) return WeightUse::kProduct;
  return model.head() == id ? WeightUse::kBoth : WeightUse::kRows;
}

ComponentWeights::ComponentWeights(const Model& model, ComponentId id) : stored_(model.Weight(id)) {
  if (UseOf(model, id) != WeightUse::kRows) panels_ = PackWeightsF32(stored_);
}

ComponentWeights::ComponentWeights(const Encoding& encoding,
                                   Activations activations,
                                   WeightUse use) {
  if (use != WeightUse::kRows) {
    panels_ = PackWeightsFor(encoding, activations);
  }
  if (use != WeightUse::kProduct) encoding_ = encoding;
}

void ComponentWeights::ReadRow(int64_t row, std::span<float> out) const {
  if (encoding_.has_value()) {
    DecodeReferenceRow(*encoding_, row, out);
    return;
  }
  CHECK(stored_.data != nullptr) << "the encoded rows of this component were not kept";
  stored_.ReadRow(row, out);
}

int64_t ComponentWeights::bytes() const {
  return panels_.bytes() +
         (encoding_.has_value() ? static_cast<int64_t>(encoding_->bytes.size()) : 0);
}

}  // namespace bitbudget
