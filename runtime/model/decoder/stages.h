#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_STAGES_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_STAGES_H_

#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/model/decoder/components.h"

namespace bitbudget {

// The forward pass is a chain of stages; x is the residual stream [rows, hidden].
//   stage 0              embedding               tokens -> x
//   stage 1 + 2 layer    attention of a layer    x -> x + o(attention(q, k, v)(norm(x)))
//   stage 2 + 2 layer    MLP of a layer          x -> x + down(activation(gate) * up)(norm(x))
//   stage 1 + 2 layers   final norm and head     x -> logits
// With ModelConfig::post_norms the term added to x is normed too.
int NumStages(const ModelConfig& config);

// The first stage whose result changes when the component changes.
int FirstAffectedStage(const Component& component, const ModelConfig& config);

// The components that a stage uses, in execution order.
std::vector<ComponentId> StageComponents(int stage, const ModelConfig& config);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_STAGES_H_
