#include "runtime/model/decoder/weights.h"

#include <glog/logging.h>

#include <utility>

namespace bitbudget {
namespace {

WeightPanels WithTokenBits(WeightPanels panels, int bits) {
  if (panels.path != Path::kF32) panels.token_bits = bits;
  return panels;
}

}  // namespace

WeightPanels PackWeightsFor(const Encoding& encoding, Activations activations) {
  switch (activations) {
    case Activations::kInt16:
      return PackWeights(encoding);
    case Activations::kInt8:
      return PackWeightsInt8(encoding);
    case Activations::kToken8:
      return WithTokenBits(PackWeights(encoding), 8);
    case Activations::kToken4:
      return WithTokenBits(PackWeights(encoding), 4);
    case Activations::kLlamaCpp:
      return PackWeightsLlamaCpp(encoding);
    case Activations::kF32:
      break;
  }
  return PackWeightsF32(encoding);
}

WeightUse UseOf(const Model& model, ComponentId id) {
  if (model.component(id).kind != ComponentKind::kEmbedding) return WeightUse::kProduct;
  return model.head() == id ? WeightUse::kBoth : WeightUse::kRows;
}

ComponentWeights::ComponentWeights(const Model& model, ComponentId id)
    : stored_(model.Weight(id)), stored_rounding_(LlamaCppRounding(stored_.format)) {
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

const LayerVectors& WeightSet::VectorsOf(const Model& model, int layer) const {
  const Model& whose = vectors_of != nullptr ? *vectors_of : model;
  if (vectors == nullptr) return whose.layer(layer);
  const auto own = vectors->find(layer);
  return own == vectors->end() ? whose.layer(layer) : own->second;
}

const std::vector<float>& WeightSet::FinalNormOf(const Model& model) const {
  return vectors_of != nullptr ? vectors_of->final_norm() : model.final_norm();
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
