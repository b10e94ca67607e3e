#include "planner/runs/output_errors.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/status_macros.h"
#include "scoring/output_error.h"

namespace bitbudget {
namespace {

absl::StatusOr<InputSample> MakeInputSample(const ProbeMaker& maker,
                                            Workspace* workspace,
                                            Progress* progress) {
  BB_ASSIGN_OR_RETURN(const auto sequences,
                      CalibrationPrompts(maker, kErrorProbes, workspace, progress));
  return InputSample::Create(workspace->transformer(),
                             workspace->reference(),
                             sequences,
                             kErrorRows,
                             workspace->options().threads,
                             progress);
}

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> CalibrationPrompts(const ProbeMaker& maker,
                                                                     int64_t count,
                                                                     Workspace* workspace,
                                                                     Progress* progress) {
  return maker.Prompts(ProbeRole::kCalibration, count, workspace->sampler(), progress);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> GradientSequences(const ProbeMaker& maker,
                                                                    int64_t count,
                                                                    Workspace* workspace,
                                                                    Progress* progress) {
  return maker.Windows(ProbeRole::kCalibration, count, workspace->sampler(), progress);
}

absl::StatusOr<CostTable> MeasureOutputErrors(const SearchProblem& problem,
                                              const ProbeMaker& maker,
                                              Workspace* workspace,
                                              Run* run,
                                              Progress* progress) {
  std::optional<InputSample> sample;  // made when a component's errors are not stored
  CostTable table;
  const int count = static_cast<int>(problem.components.size());
  for (ComponentId c = 0; c < count; ++c) {
    std::vector<Format> formats;
    std::string key = absl::StrCat("output errors/", kErrorProbes, "/", kErrorRows, "/", c);
    for (const Choice& choice : problem.ladders[problem.UnitOf(c)]) {
      formats.push_back(choice.format);
      absl::StrAppend(&key, "/", choice.format.Name());
    }
    BB_ASSIGN_OR_RETURN(
        const std::string stored, run->Remember(key, [&]() -> absl::StatusOr<std::string> {
          if (!sample.has_value()) {
            BB_ASSIGN_OR_RETURN(sample, MakeInputSample(maker, workspace, progress));
            progress->Begin("output errors", count);
          }
          BB_ASSIGN_OR_RETURN(
              const std::vector<double> errors,
              OutputErrors(
                  *sample, c, formats, workspace->bank(), workspace->options().threads, progress));
          progress->Update(c + 1);
          return SerializeOutputErrors(errors);
        }));
    BB_ASSIGN_OR_RETURN(
        std::vector<double> errors,
        ParseOutputErrors(stored, static_cast<int64_t>(formats.size()), "the run store"));
    table.push_back(std::move(errors));
  }
  if (sample.has_value()) progress->End();
  return table;
}

CostTable SumOverUnits(const SearchProblem& problem, const CostTable& errors) {
  CostTable sums;
  for (UnitId u = 0; u < problem.size(); ++u) {
    std::vector<double>& sum = sums.emplace_back(problem.ladders[u].size(), 0.0);
    for (const ComponentId c : problem.Parts(u)) {
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += errors[c][i];
    }
  }
  return sums;
}

}  // namespace bitbudget
