#ifndef BITBUDGET_PLANNER_RUNS_CALIBRATION_H_
#define BITBUDGET_PLANNER_RUNS_CALIBRATION_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// Tokens per input that a Gram matrix (the Hessian of GPTQ, up to a factor) is averaged over. For
// normal inputs this gives its smallest eigenvalues to a factor of (1 - 1/4)^2. kGramProbes bounds
// the prompts that are run for them.
inline constexpr int64_t kGramTokensPerInput = 16;
inline constexpr int64_t kGramProbes = 512;

// Prompts that moments are averaged over. A moment of n tokens has a relative error of about
// sqrt(2 / n) for a normal input: 2 % with 64 prompts of 100 tokens.
inline constexpr int64_t kMomentProbes = 64;

// What an encoder learned, as far as a plan records it.
struct EncoderCalibration {
  InputMoments moments;   // of encoders that weigh columns by their inputs
  int64_t sequences = 0;  // that Gram matrices or else Fisher information were measured on
  int64_t tokens = 0;     // in them
};

// Teaches the workspace's encoder about its inputs, and the weights' gradients where it prunes by
// them, on probes of the calibration role; nothing to do for encoders that learn nothing. Moments
// are recalled from the run's store where it has them. Errors: those of the probes, the model's
// passes and the store.
absl::StatusOr<EncoderCalibration> CalibrateEncoder(const ProbeMaker& maker,
                                                    Workspace* workspace,
                                                    Run* run,
                                                    Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_CALIBRATION_H_
