#ifndef BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_
#define BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "planner/workspace/checked_encoder.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/options.h"
#include "planner/workspace/recovered_encoder.h"
#include "runtime/eval/bank.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/fisher_store.h"
#include "runtime/quantize/gram.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/layer_tuning.h"

namespace bitbudget {

// Weights that a job trained, and what stores call them.
struct TrainedWeights {
  ReplacedWeights values;
  std::string name;
};

// A loaded model with everything that running it in any assignment takes. Not thread-safe.
class Workspace {
 public:
  // Runs up to `context` positions within `memory`. The model outlives the workspace. Errors: an
  // unknown encoder; a context that the model cannot run, naming its config file.
  static absl::StatusOr<std::unique_ptr<Workspace>> Create(
      const Model& model,
      const WorkspaceOptions& options,
      int64_t context,
      const MemoryPlan& memory = UnplannedMemory());

  const Model& model() const { return model_; }
  const WorkspaceOptions& options() const { return options_; }
  const MemoryPlan& memory() const { return memory_; }
  const Transformer& transformer() const { return transformer_; }
  // The weights of the unmodified model.
  WeightSource* reference() { return &reference_; }
  // What sampling the model's own text takes.
  ProbeSampler sampler() { return {&transformer_, &reference_, options_.threads, memory_.states}; }
  // Encodes single components. Its calibration must be set before anything is encoded.
  StatsWeightEncoder* encoder() { return &weight_encoder_; }
  // The Gram matrices of encoders that learn from them.
  GramStore* grams() { return &grams_; }
  // The Fisher information that weights are pruned by.
  FisherStore* fisher() { return &fisher_; }
  // Tunes whole layers. Where TunesLayers(), it must be calibrated before anything is encoded.
  LayerTuningEncoder* tuning() { return &tuning_; }
  bool TunesLayers() const;
  // Whether the encoder's Gram matrices take weights of tokens.
  bool WeighsTokens() const;
  // Runs a recovered plan: its encodings in place of the encoder's, its norms and biases in place
  // of the model's.
  void UseRecovered(RecoveredWeights weights);
  const RecoveredEncoder& recovered() const { return recovered_; }
  // What jobs encode with. After ExpectEncodings(), an encoding with another hash is an error.
  const WeightEncoder& weight_encoder() const { return checked_encoder_; }
  void ExpectEncodings(EncodingHashes hashes) { checked_encoder_.Expect(std::move(hashes)); }
  EncodingBank* bank() { return &bank_; }

  // Encodes these from now on in place of the model's weights (null: the model's) and drops what
  // was encoded, unless they have the name of those in use. They outlive their use.
  void UseWeights(const TrainedWeights* weights);
  // Of the weights in use; empty: the model's.
  const std::string& weights_name() const { return weights_name_; }

 private:
  Workspace(const Model& model,
            const WorkspaceOptions& options,
            const MemoryPlan& memory,
            std::unique_ptr<Encoder> encoder,
            int64_t context);

  const Model& model_;
  const WorkspaceOptions options_;
  const MemoryPlan memory_;
  std::string weights_name_;
  std::unique_ptr<Encoder> encoder_;
  StatsWeightEncoder weight_encoder_;
  LayerTuningEncoder tuning_;
  RecoveredEncoder recovered_;
  CheckedWeightEncoder checked_encoder_;
  GramStore grams_;
  FisherStore fisher_;
  Transformer transformer_;
  EncodingBank bank_;
  AssignmentWeights reference_;
};

// Every component in one format, or the error of CheckFits.
absl::StatusOr<Assignment> UniformAssignment(const Format& format, const Model& model);

// Bytes of the whole model under an assignment.
int64_t AssignmentBytes(const Assignment& assignment, const Model& model);
double BitsPerWeight(int64_t bytes, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_WORKSPACE_H_
