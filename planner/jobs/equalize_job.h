#ifndef BITBUDGET_PLANNER_JOBS_EQUALIZE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_EQUALIZE_JOB_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/workspace/options.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/format.h"
#include "runtime/training/equalize.h"

namespace bitbudget {

struct EqualizeJobOptions {
  Format format;    // of every matrix of every layer
  std::string out;  // a folder that does not exist yet, or is empty
  // Of the folded weights. None: the checkpoint's own, which rounds them once more.
  std::optional<Format> float_type = kFormatF32;
  // Its activations are those that the model will run with: rounding per token counts in the error.
  WorkspaceOptions workspace;
  // Calibration sequences, every fourth of them held aside, and as many held-out ones for the
  // divergence of the folded model.
  int64_t probe_count = 16;
  int iterations = 20;  // of EqualizeOptions

  absl::Status Validate() const;
};

struct EqualizeReport {
  std::vector<LayerEqualization> layers;
  int64_t tokens = 0;  // that scales were chosen on
  int64_t held_tokens = 0;
  // KL of the folded model from the original, in nats per token on held-out text, both in f32: what
  // the rounding of folded weights costs.
  double divergence = 0;
  double largest_divergence = 0;  // of a token
};

// Learns scales for every layer (runtime/training/equalize.h) and writes the model with the scales
// folded into its weights: a Hugging Face folder that computes the same up to rounding and loses
// less when it is quantized. Errors: a model that is not a folder, an `out` that exists, those of
// the probes and files; kCancelled on interruption, which leaves no folder unless the divergence
// alone was missing.
absl::StatusOr<EqualizeReport> RunEqualizeJob(const Model& model,
                                              const EqualizeJobOptions& options,
                                              Progress* progress);

// The model with these scales (one entry per layer) folded in, as RunEqualizeJob writes it.
absl::Status WriteEqualizedFolder(const Model& model,
                                  std::span<const LayerScales> scales,
                                  std::optional<Format> float_type,
                                  const std::string& folder,
                                  int threads,
                                  Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_EQUALIZE_JOB_H_
