#ifndef BITBUDGET_PLANNER_RUNS_OUTPUT_ERRORS_H_
#define BITBUDGET_PLANNER_RUNS_OUTPUT_ERRORS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "search/exact_fill.h"
#include "search/problem.h"

namespace bitbudget {

// The error is an average over rows and outputs of a component, so that a few hundred rows give it
// to a few per cent.
inline constexpr int64_t kErrorProbes = 16;
inline constexpr int64_t kErrorRows = 256;

// Prompts of the calibration role.
absl::StatusOr<std::vector<std::vector<int32_t>>> CalibrationPrompts(const ProbeMaker& maker,
                                                                     int64_t count,
                                                                     Workspace* workspace,
                                                                     Progress* progress);

// Windows of the calibration role (ProbeMaker::Windows): what gradients are taken on.
absl::StatusOr<std::vector<std::vector<int32_t>>> GradientSequences(const ProbeMaker& maker,
                                                                    int64_t count,
                                                                    Workspace* workspace,
                                                                    Progress* progress);

// The output error (scoring/output_error.h) of every component in every choice of its unit's ladder
// (rows by component), from the run's store where it has them; no candidate is run. Errors as
// OutputErrors and the store's.
absl::StatusOr<CostTable> MeasureOutputErrors(const SearchProblem& problem,
                                              const ProbeMaker& maker,
                                              Workspace* workspace,
                                              Run* run,
                                              Progress* progress);

// The errors of every unit: the sums over its components (divergences add up to first order).
CostTable SumOverUnits(const SearchProblem& problem, const CostTable& errors);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_OUTPUT_ERRORS_H_
