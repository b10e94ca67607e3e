#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_COMPONENTS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_COMPONENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/model/architecture/config.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

enum class ComponentKind : uint8_t { kEmbedding, kQ, kK, kV, kO, kGate, kUp, kDown, kHead };

const char* ComponentKindName(ComponentKind kind);  // "embed", "q", ..., "head"

// Index into Model::components().
using ComponentId = int;

// One weight matrix [rows = outputs, cols = inputs] that a plan decides on. A tied head is no
// component: the embedding is used for both.
struct Component {
  ComponentKind kind;
  int layer = -1;  // decoder layer; -1: embedding or head
  int64_t rows = 0;
  int64_t cols = 0;
  std::string name;  // Hugging Face module name, e.g. "model.layers.0.self_attn.q_proj"
  // Where a checkpoint holds it: rows [stored_row, stored_row + rows) of a tensor of stored_rows
  // rows, several components of which may be stored together (Phi-3).
  std::string stored_name = {};
  int64_t stored_row = 0;
  int64_t stored_rows = 0;
};

// Components in execution order: embedding; q, k, v, o, gate, up, down of every layer; head.
std::vector<Component> ListComponents(const ModelConfig& config);

// The id of a component of a decoder layer. REQUIRES: `kind` is kQ to kDown.
inline constexpr int kComponentsPerLayer = 7;
constexpr ComponentId IdOf(int layer, ComponentKind kind) {
  return layer * kComponentsPerLayer + static_cast<int>(kind);
}

// kInvalidArgument, naming component and block size, unless the component's rows are whole blocks
// of the format.
absl::Status CheckFits(const Format& format, const Component& component);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_COMPONENTS_H_
