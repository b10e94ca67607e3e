#include "planner/jobs/plan_preview.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "planner/jobs/plan_problem.h"
#include "planner/jobs/work_sizes.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"

namespace bitbudget {
namespace {

// Enough for every thread to have a batch, as in a real pass.
constexpr int64_t kRowsPerThread = 1024;
constexpr double kPreview_s = 0.5;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

double MeasurePassSeconds(const PassSize& pass, Workspace* workspace, double budget_s) {
  const Model& model = workspace->model();
  const int threads = workspace->options().threads;
  const int64_t count =
      std::clamp<int64_t>(pass.probes, 1, threads * (kRowsPerThread / pass.tokens + 1));
  const std::vector<std::vector<int32_t>> sequences(
      static_cast<size_t>(count), std::vector<int32_t>(static_cast<size_t>(pass.tokens), 0));
  double weights = 0;
  for (const Component& component : model.components()) {
    if (component.layer == 0) weights += static_cast<double>(component.rows * component.cols);
  }
  TokenPass run(workspace->transformer(), sequences, threads);
  AlignedBuffer<float> x(run.total_rows() * model.config().hidden_size);
  Progress unseen;
  // The embedding and, once, the panels of the layer's weights.
  const int layer_end = std::min(3, NumStages(model.config()) - 1);
  if (!run.Advance(workspace->reference(), 0, layer_end, x.data(), &unseen).ok()) return 0;
  double best = HUGE_VAL;  // what else the machine does only makes it longer
  const auto begin = std::chrono::steady_clock::now();
  do {
    const auto start = std::chrono::steady_clock::now();
    if (!run.Advance(workspace->reference(), 1, layer_end, x.data(), &unseen).ok()) return 0;
    best = std::min(best, SecondsSince(start));
  } while (SecondsSince(begin) < budget_s);
  return best * pass.macs / (kFloatPass * weights * static_cast<double>(run.total_rows()));
}

absl::StatusOr<PlanPreview> PreviewPlans(const Model& model,
                                         std::span<const PlanOptions> jobs,
                                         const HeldOutExtras& extras,
                                         int64_t ranks) {
  BB_ASSIGN_OR_RETURN(const PlanSetup setup, SetUpPlans(model, jobs, ranks));
  PlanPreview preview;
  std::vector<JobToDo> to_do;
  for (size_t i = 0; i < jobs.size(); ++i) {
    to_do.push_back({&jobs[i], &setup.made[i].problem});
    const std::optional<BudgetSplit>& budget = setup.made[i].budget;
    if (budget.has_value()) preview.budget_bytes.push_back(budget->weight_bytes);
  }
  preview.work = WorkOf(model, to_do, extras, *setup.ready.maker, ranks);
  preview.memory = setup.ready.memory;
  preview.pass_seconds =
      MeasurePassSeconds(preview.work.pass, setup.ready.workspace.get(), kPreview_s);
  const SearchProblem& problem = setup.made[0].problem;
  preview.notes = setup.made[0].notes;
  preview.units = problem.size();
  std::set<Format> formats;
  for (UnitId u = 0; u < problem.size(); ++u) {
    preview.free_units += !problem.Pinned(u);
    for (const Choice& choice : problem.ladders[u]) formats.insert(choice.format);
  }
  preview.formats.assign(formats.begin(), formats.end());
  preview.smallest_bytes = problem.SmallestBytes();
  return preview;
}

}  // namespace bitbudget
