#ifndef BITBUDGET_RUNTIME_TRAINING_RECOVERY_H_
#define BITBUDGET_RUNTIME_TRAINING_RECOVERY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/encoding.h"
#include "runtime/training/gradient_profile.h"

namespace bitbudget {

// Recovery: training finds other codes and scales for the same formats, so that a quantized model
// comes closer to the original at the same bytes. docs/recovery.md describes the methods.

// Encodings of the components that do not keep their stored weights.
using ComponentEncodings = std::map<ComponentId, Encoding>;

// What takes the place of a model's weights.
struct EncodedModel {
  ComponentEncodings encodings;
  VectorsByLayer vectors = {};  // norms and biases of the layers where they are not the model's
  // Whether encodings are of matrices that an equivalent transformation has changed: they are then
  // no image of the model's own, on which only the method `scales` can build.
  bool transformed = false;
};

// Token sequences to train on, and others to accept or reject a result by.
struct RecoveryData {
  std::vector<std::vector<int32_t>> training;
  std::vector<std::vector<int32_t>> kept_aside;
};

struct RecoveryOptions {
  int64_t steps = 0;   // of each method, per layer where it goes layer by layer; 0: its own
  double minutes = 0;  // a method starts no step after that much time; 0: no limit
  // Of weights, in units of the root mean square of their matrix; 0: the method's own, which
  // depends on the bits.
  double learning_rate = 0;
  double rate_factor = 1;  // all learning rates are multiplied by it
  // Where one-bit matrices start: "plan", the signs of their codes, or "random" signs, with the g
  // and h of the codes and the sizes of the original weights.
  std::string start = "plan";
  std::string freeze = "none";  // distill: kinds of matrices whose codes stay: none, ov, qk, random
  // distill: the part of KL from the original in the loss; the rest is cross entropy on the text.
  double kl_weight = 1;
  // onebit: what the normalised error of hidden states counts beside KL (OneBit's alpha).
  double hidden_weight = 0;
  // omniquant: the loss counts the original layer's outputs for the same inputs too (OmniQuant's
  // aug_loss).
  bool augmented_loss = false;
  // omniquant: learns an equivalent transformation (LET) with the clipping.
  bool transform = false;
  // Takes what training ends with where it is worse, too: to compare methods by what they do.
  bool keep_worse = false;
  // Methods that train all layers together: the steps between two profiles
  // (RecoveryStep::profiles); 0: none.
  int64_t profile_every = 0;
  int64_t batch = 4;  // sequences per step
  uint64_t seed = 0;
  int token_bits = 0;  // activations are rounded as DecoderLayerOptions says
  int threads = 1;
};

// What one method did. Losses are mean KL divergences from the original model over the sequences
// kept aside, in nats per token.
struct RecoveryStep {
  std::string method;
  int64_t steps = 0;  // taken; summed over layers
  double loss_before = 0;
  double loss_after = 0;    // equal where the result was not better, and so was not taken
  double loss_trained = 0;  // of what training ended with, taken or not
  // The loss became infinite: the codes stay those from before, and loss_trained is loss_before.
  bool diverged = false;
  std::vector<GradientProfile> profiles = {};  // at the start, on the way, at the end
};

struct Recovered {
  EncodedModel model;
  std::vector<RecoveryStep> steps;
  bool complete = true;  // false: interrupted or out of time; the model is the best so far
};

// Keeps what a recovery has reached, so that a killed one resumes with the same result.
class RecoveryState {
 public:
  virtual ~RecoveryState() = default;
  // Replaces what is kept, atomically. Values are arbitrary bytes.
  virtual absl::Status Save(const std::map<std::string, std::string>& state) = 0;
  // What was saved last; empty if nothing was.
  virtual absl::StatusOr<std::map<std::string, std::string>> Load() = 0;
};

// One row of the registry of methods, recovery.cc.
struct RecoveryMethod {
  absl::string_view name;
  absl::string_view description;  // completes "NAME: ...", for help texts
};
std::span<const RecoveryMethod> RecoveryMethods();

// kInvalidArgument for an unknown method, an option out of its range, a format that a method cannot
// train, naming the component, or a method that cannot build on a transformed model. Looks at
// formats alone: the encodings need no bytes. To be called before long work.
absl::Status CheckRecovery(const Model& model,
                           const EncodedModel& start,
                           std::span<const std::string> methods,
                           const RecoveryOptions& options);

// Runs methods one after the other, each from the result of the one before. The result has the
// formats of `start` and is never worse than it on the sequences kept aside, unless `keep_worse`
// asks for that. Training that diverges (a loss that is not finite) changes nothing; a message says
// so, with the learning rate, and where a result is not taken. An interruption ends it with the
// best so far. `state` may be null: nothing is kept then. Deterministic, whatever the number of
// threads, unless `minutes` limits it. Errors: CheckRecovery's; those of `state`.
absl::StatusOr<Recovered> Recover(const Model& model,
                                  const EncodedModel& start,
                                  const RecoveryData& data,
                                  std::span<const std::string> methods,
                                  const RecoveryOptions& options,
                                  RecoveryState* state,
                                  Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_RECOVERY_H_
