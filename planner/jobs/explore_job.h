#ifndef BITBUDGET_PLANNER_JOBS_EXPLORE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_EXPLORE_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_preview.h"
#include "planner/workspace/budget.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What somebody else made of the model.
struct ExploreFile {
  std::string label;
  const Model* model = nullptr;  // outlives the job
};

struct ExploreOptions {
  // All of it but the limit.
  PlanOptions plan;
  std::vector<Budget> budgets;
  // What plans are compared with beside uniform: a method of search, at every budget (additive,
  // lim, zd, random), or a mix of llama.cpp's quantizer, where the plans are for it (q4_k_m, ...).
  std::vector<std::string> rivals;
  // Measured beside the plans.
  std::vector<ExploreFile> files;
  // Prompts that every plan continues.
  int64_t continuations = 3;

  absl::Status Validate() const;
};

// The names that rivals may have.
std::vector<std::string> ExploreRivals();

// One assignment, measured on the held-out probes.
struct ExplorePoint {
  std::string method;  // "greedy", "uniform", a rival's, "mix", or "file"
  std::string label;   // the budget as written, the uniform format, the mix, or the file
  // As written; of uniform: the smallest that it was the best for; of mixes and files: none.
  std::string budget;
  int64_t size_bytes = 0;  // of the weights in these formats, SearchProblem::TotalBytes
  Assignment assignment;
  Evaluation evaluation;
  // Of a plan of the curve: which of the report's outcomes has it.
  std::optional<size_t> outcome;
};

struct ExploreComparison {
  size_t a = 0, b = 0;  // points
  Interval text_kl;     // of a - b, paired over probes
  Interval fdt;
};

struct ExploreReport {
  std::vector<PlanOutcome> outcomes;  // of the curve, by budget
  std::vector<ExplorePoint> points;   // the curve first
  // The point of the curve behind which more bytes buy least: the largest distance below the line
  // between its ends, in bytes and the logarithm of the loss (Statistic::kLoss); none for fewer
  // than three points.
  std::optional<size_t> knee;
  std::vector<ExploreComparison> comparisons;
  MemoryPlan memory;
  bool complete = true;  // false: interrupted, and budgets are missing
};

// What RunExploreJob would do. Errors as it has them before its work. Writes nothing.
absl::StatusOr<PlanPreview> PreviewExploration(const Model& model, const ExploreOptions& options);

// The plans of all budgets in one run, each that of RunPlanJob at its budget, with their rivals and
// others' files. Errors as RunPlanJob, CheckSameModel and LlamaCppMix.
absl::StatusOr<ExploreReport> RunExploreJob(const Model& model,
                                            const ExploreOptions& options,
                                            Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_EXPLORE_JOB_H_
