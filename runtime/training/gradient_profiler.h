#ifndef BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILER_H_
#define BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/gradient_profile.h"
#include "runtime/training/trained_model.h"

namespace bitbudget {

// Takes gradient profiles of a model that is trained, always on the same sequences. A profile costs
// about as much as a step of training on them.
class GradientProfiler {
 public:
  struct Options {
    double kl_weight = 1;  // of Distillation, the loss
    int token_bits = 0;
    int threads = 1;
  };

  // Runs the original model on the sequences. Model and sequences outlive it. kCancelled on
  // interruption.
  static absl::StatusOr<std::unique_ptr<GradientProfiler>> Create(
      const Model& model,
      std::span<const std::vector<int32_t>> sequences,
      const Options& options,
      Progress* progress);

  // The profile after `step` steps. The gradients that `trained` keeps for its parameters stay.
  GradientProfile Measure(int64_t step, const ModelEnds<float>& ends, TrainedModel* trained);

 private:
  GradientProfiler(const Model& model,
                   std::span<const std::vector<int32_t>> sequences,
                   const Options& options,
                   std::unique_ptr<OriginalOutputs> original);

  const Model& model_;
  const std::span<const std::vector<int32_t>> sequences_;
  const Options options_;
  const std::unique_ptr<OriginalOutputs> original_;
  ModelGradient<float> pass_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILER_H_
