#ifndef BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_
#define BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "planner/workspace/checked_encoder.h"
#include "planner/workspace/memory_plan.h"
#include "plans/plan.pb.h"
#include "runtime/eval/bank.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/gram.h"
#include "runtime/quantize/layer_tuning.h"
#include "runtime/quantize/pruning.h"

namespace bitbudget {

struct WorkspaceOptions {
  std::string encoder = "clip";
  Pruning pruning = Pruning::kMagnitude;  // of sparse formats
  Activations activations = Activations::kInt16;
  int threads = 1;
  // Of memory_plan.h, in bytes.
  int64_t weights_bytes = int64_t{4} << 30;
  int64_t states_bytes = int64_t{4} << 30;
  int64_t logits_bytes = int64_t{1} << 30;
  // Where encodings go that memory has no room for.
  std::string spill_directory = "/tmp";

  void SetMemory(const MemoryPlan& memory);
  // How a plan had its codes chosen. kInvalidArgument: an encoder or a pruning rule that this
  // version does not know.
  absl::Status SetEncoding(const plans::Options& options);
};

// A loaded model with everything that running it in any assignment takes. Not thread-safe.
class Workspace {
 public:
  // `context`: positions that will be run. The model outlives the workspace.
  static absl::StatusOr<std::unique_ptr<Workspace>> Create(const Model& model,
                                                           const WorkspaceOptions& options,
                                                           int64_t context);

  const Model& model() const { return model_; }
  const WorkspaceOptions& options() const { return options_; }
  const Transformer& transformer() const { return transformer_; }
  // The weights of the unmodified model.
  WeightSource* reference() { return &reference_; }
  // What sampling the model's own text takes.
  ProbeSampler sampler() {
    return {&transformer_, &reference_, options_.threads, options_.states_bytes};
  }
  // What it needs to know of inputs is to be set before anything is encoded.
  StatsWeightEncoder* encoder() { return &weight_encoder_; }
  // For those inputs, where Gram matrices are needed.
  GramStore* grams() { return &grams_; }
  // Tunes whole layers, once it is calibrated, which it is to be where TunesLayers().
  LayerTuningEncoder* tuning() { return &tuning_; }
  bool TunesLayers() const;
  // The encodings of components; once ExpectEncodings was called, those of the plan or none.
  const WeightEncoder& weight_encoder() const { return checked_encoder_; }
  void ExpectEncodings(const plans::Plan& plan) { checked_encoder_.Expect(plan); }
  EncodingBank* bank() { return &bank_; }

 private:
  Workspace(const Model& model,
            const WorkspaceOptions& options,
            std::unique_ptr<Encoder> encoder,
            int64_t context);

  const Model& model_;
  WorkspaceOptions options_;
  std::unique_ptr<Encoder> encoder_;
  StatsWeightEncoder weight_encoder_;
  LayerTuningEncoder tuning_;
  CheckedWeightEncoder checked_encoder_;
  GramStore grams_;
  Transformer transformer_;
  EncodingBank bank_;
  AssignmentWeights reference_;
};

// The formats that a plan gives the components of this model. kInvalidArgument when the plan was
// made for another model (naming both fingerprints) or lists other components.
absl::StatusOr<Assignment> AssignmentOfPlan(const plans::Plan& plan, const Model& model);

// Every component in one format, or the error of CheckFits.
absl::StatusOr<Assignment> UniformAssignment(const Format& format, const Model& model);

// Bytes of the whole model under an assignment.
int64_t AssignmentBytes(const Assignment& assignment, const Model& model);
double BitsPerWeight(int64_t bytes, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_
