#ifndef BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/jobs/constraints.h"
#include "planner/workspace/memory_plan.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "runtime/eval/reference.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/pruning.h"

namespace bitbudget {

struct EvaluateOptions {
  // What to evaluate: a plan, or every component in one format, or, with neither, as it is stored;
  // and then the components that pins match in their formats.
  std::optional<plans::Plan> plan;
  std::optional<Format> uniform;
  std::vector<Constraints::Pin> pins;

  // Measure the first divergent token and nothing else, for less work.
  bool fdt_only = false;

  ProbeOptions probes;
  int64_t probe_count = 128;
  std::string encoder = "clip";           // a plan names its own
  Pruning pruning = Pruning::kMagnitude;  // so does it of this
  std::string calibration;  // the text that the encoder learns from; empty: that of probes
  Activations activations = Activations::kInt16;
  int threads = 1;
  int64_t memory_bytes = DefaultMemoryLimit();
  std::string spill_directory = "/tmp";

  absl::Status Validate() const;
};

struct EvaluateReport {
  int64_t size_bytes = 0;
  double bits_per_weight = 0;
  int64_t completion_tokens = 0;
  std::vector<Probe> probes;
  // One result per probe, and what follows from them. With fdt_only: nothing but FDT is set, and
  // there is no noise floor.
  Evaluation evaluation;
  plans::Metrics metrics;
  plans::Metrics noise_floor;
  // On natural text (reference and plan set); absent unless the probes are text.
  std::optional<plans::TextPerplexity> text;
  MemoryPlan memory;
};

// Measures an assignment on held-out probes. Errors as the parts'; kCancelled on interruption.
absl::StatusOr<EvaluateReport> RunEvaluateJob(const Model& model,
                                              const EvaluateOptions& options,
                                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_
