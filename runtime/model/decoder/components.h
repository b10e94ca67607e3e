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

// Index into Model::components(): execution order, the unit of every decision.
using ComponentId = int;

// One weight matrix [rows = outputs, cols = inputs] that a plan decides on. With a tied head the
// embedding is the head too, and there is no head component.
struct Component {
  ComponentKind kind;
  int layer = -1;  // -1 for embedding and head
  int64_t rows = 0;
  int64_t cols = 0;
  std::string name;  // Hugging Face module name, e.g. "model.layers.0.self_attn.q_proj"
  // Where a checkpoint holds it: rows [stored_row, stored_row + rows) of a tensor of stored_rows.
  // A component has a name of its own also where it is stored together with others (Phi-3).
  std::string stored_name = {};
  int64_t stored_row = 0;
  int64_t stored_rows = 0;
};

// Components in execution order: embedding; q, k, v, o, gate, up, down of every layer; head.
std::vector<Component> ListComponents(const ModelConfig& config);

// kInvalidArgument, naming component and block size, when rows of the component are not whole
// blocks of the format.
absl::Status CheckFits(const Format& format, const Component& component);

// The forward pass is a chain of stages; x is the residual stream [rows, hidden].
//   stage 0          embedding           tokens -> x
//   stage 1 + 2b     attention of layer b     x -> x + o(attention(q, k, v)(norm(x)))
//   stage 2 + 2b     MLP of layer b           x -> x + down(activation(gate) * up)(norm(x)))
//   stage 1 + 2L     final norm and head      x -> logits
// With ModelConfig::post_norms what is added to x is normed too.
int NumStages(const ModelConfig& config);

// The first stage whose result changes when the component changes (the embedding: stage 0).
int FirstAffectedStage(const Component& component, const ModelConfig& config);

// The components that a stage runs with.
std::vector<ComponentId> StageComponents(int stage, const ModelConfig& config);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_COMPONENTS_H_
