#include "runtime/model/decoder/stages.h"

namespace bitbudget {

int NumStages(const ModelConfig& config) {
  return 2 + 2 * static_cast<int>(config.num_hidden_layers);
}

int FirstAffectedStage(const Component& component, const ModelConfig& config) {
  switch (component.kind) {
    case ComponentKind::kEmbedding:
      return 0;
    case ComponentKind::kQ:
    case ComponentKind::kK:
    case ComponentKind::kV:
    case ComponentKind::kO:
      return 1 + 2 * component.layer;
    case ComponentKind::kGate:
    case ComponentKind::kUp:
    case ComponentKind::kDown:
      return 2 + 2 * component.layer;
    case ComponentKind::kHead:
      return NumStages(config) - 1;
  }
  return 0;
}

std::vector<ComponentId> StageComponents(int stage, const ModelConfig& config) {
  const int layers = static_cast<int>(config.num_hidden_layers);
  if (stage == 0) return {0};
  if (stage == NumStages(config) - 1) {
    return {config.tie_word_embeddings ? 0 : 1 + layers * kComponentsPerLayer};
  }
  const int layer = (stage - 1) / 2;
  const bool attention = stage % 2 == 1;
  const ComponentId first = IdOf(layer, attention ? ComponentKind::kQ : ComponentKind::kGate);
  const ComponentId last = IdOf(layer, attention ? ComponentKind::kO : ComponentKind::kDown);
  std::vector<ComponentId> components;
  for (ComponentId id = first; id <= last; ++id) components.push_back(id);
  return components;
}

}  // namespace bitbudget
