#ifndef BITBUDGET_PLANNER_JOBS_EQUALIZE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_EQUALIZE_JOB_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/equalize.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

struct EqualizeJobOptions {
  Format format;  // of every matrix of every layer
  Activations activations = Activations::kInt16;
  std::string out;  // a folder that does not exist yet, or is empty
  // What the folded weights are stored in; none: as the checkpoint's, which rounds them once more.
  std::optional<Format> float_type = kFormatF32;
  ProbeOptions probes;
  // Calibration sequences, of which every fourth is held aside; and as many held-out ones for the
  // folded model's divergence.
  int64_t probe_count = 16;
  int iterations = 20;  // of EqualizeOptions
  int threads = 1;

  absl::Status Validate() const;
};

struct EqualizeReport {
  std::vector<LayerEqualization> layers;
  int64_t tokens = 0;  // that scales were chosen on
  int64_t held_tokens = 0;
  // Of the folded model from the original, in nats per token on held-out text, both in f32: what
  // folding's rounding does.
  double divergence = 0;
  double largest_divergence = 0;  // of a token
};

// Learns scales for every layer (runtime/quantize/equalize.h) and writes the model with these
// folded into its weights: a Hugging Face folder that computes the same, but for rounding, and
// loses less when it is quantized. Errors: a model that is not a folder, an `out` that exists,
// those of the probes and of the files; kCancelled on interruption, with nothing written unless
// only the last measurement was cut off.
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
