#ifndef BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/jobs/constraints.h"
#include "planner/runs/measure.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/options.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/reference.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

struct EvaluateOptions {
  // What to evaluate: a plan, every component in one format, a file of the model that somebody else
  // made (CheckSameModel), or with none of them the model as it is stored; then, but for a file,
  // the components that pins match, in their formats.
  std::optional<plans::Plan> plan;
  std::optional<Format> uniform;
  const Model* candidate = nullptr;  // not owned
  std::vector<Constraints::Pin> pins;

  // Measure the first divergent token and nothing else, for less work.
  bool fdt_only = false;

  WorkspaceOptions workspace;  // a plan's encoder and pruning replace those given here
  int64_t probe_count = 128;
  std::string calibration;  // the text that the encoder learns from; empty: the probes'

  absl::Status Validate() const;
};

struct EvaluateReport {
  int64_t size_bytes = 0;
  double bits_per_weight = 0;
  int64_t completion_tokens = 0;
  std::vector<Probe> probes;
  Evaluation evaluation;  // one result per probe
  // With fdt_only, only the FDT pair is set, and there is no noise floor.
  Metrics metrics;
  Metrics noise_floor;
  // Along the prompts; absent with fdt_only and where prompts are too short (kTextPromptTokens).
  std::optional<TextDivergence> text_divergence;
  std::optional<TextPerplexity> text;
  MemoryPlan memory;
};

// Measures an assignment on held-out probes. Errors: those of the parts; kCancelled on
// interruption.
absl::StatusOr<EvaluateReport> RunEvaluateJob(const Model& model,
                                              const EvaluateOptions& options,
                                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_EVALUATE_JOB_H_
