#include "runtime/quantize/input_sources.h"

namespace bitbudget {

std::vector<ComponentId> InputSources(const Model& model) {
  std::vector<ComponentId> sources;
  ComponentId source = -1;
  for (size_t c = 0; c < model.components().size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const ComponentKind kind = model.component(id).kind;
    const bool shares =
        kind == ComponentKind::kK || kind == ComponentKind::kV || kind == ComponentKind::kUp;
    if (!shares) source = kind == ComponentKind::kEmbedding && id != model.head() ? -1 : id;
    sources.push_back(source);
  }
  return sources;
}

}  // namespace bitbudget
