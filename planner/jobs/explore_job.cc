#include "planner/jobs/explore_job.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/same_model.h"
#include "planner/jobs/target_model.h"
#include "planner/runs/measure.h"
#include "planner/workspace/workspace.h"
#include "plans/targets/llama_cpp_mixes.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr char kFileMethod[] = "file";
constexpr char kMixMethod[] = "mix";

bool IsMix(const std::string& name) {
  const std::vector<std::string> mixes = LlamaCppMixes();
  return std::find(mixes.begin(), mixes.end(), name) != mixes.end();
}

struct Rival {
  const char* name;
  const char* search;
  const char* scorer;  // null: none
};
constexpr Rival kRivals[] = {{"additive", "additive", nullptr},
                             {"lim", "layerwise", "lim"},
                             {"zd", "layerwise", "zd"},
                             {"random", "random", nullptr}};

absl::StatusOr<const Rival*> FindRival(const std::string& name) {
  for (const Rival& rival : kRivals) {
    if (name == rival.name) return &rival;
  }
  const std::vector<std::string> known = ExploreRivals();
  return UnknownName("rival", name, std::span<const std::string>(known));
}

// Rivals that search at every budget.
std::vector<std::string> Searched(const ExploreOptions& options) {
  std::vector<std::string> names;
  for (const std::string& name : options.rivals) {
    if (!IsMix(name)) names.push_back(name);
  }
  return names;
}

// The job of every budget, by the curve's method and by every rival's.
std::vector<PlanOptions> JobsOf(const ExploreOptions& options) {
  std::vector<PlanOptions> jobs;
  for (const Budget& budget : options.budgets) {
    jobs.push_back(options.plan);
    jobs.back().limit = budget;
  }
  for (const std::string& name : Searched(options)) {
    const Rival& rival = **FindRival(name);
    for (const Budget& budget : options.budgets) {
      jobs.push_back(options.plan);
      jobs.back().limit = budget;
      jobs.back().search = rival.search;
      if (rival.scorer != nullptr) jobs.back().scorer = rival.scorer;
    }
  }
  return jobs;
}

double LossOf(const ExplorePoint& point) {
  return std::max(Compute(Statistic::kLoss, point.evaluation), 1e-12);
}

std::optional<size_t> KneeOf(const std::vector<ExplorePoint>& curve) {
  if (curve.size() < 3) return std::nullopt;
  const auto x = [&](size_t i) { return static_cast<double>(curve[i].size_bytes); };
  const auto y = [&](size_t i) { return std::log(LossOf(curve[i])); };
  const size_t last = curve.size() - 1;
  std::optional<size_t> knee;
  double furthest = 0;
  for (size_t i = 1; i < last; ++i) {
    const double along = (x(i) - x(0)) / std::max(x(last) - x(0), 1.0);
    const double below = y(0) + along * (y(last) - y(0)) - y(i);
    if (below > furthest) {
      furthest = below;
      knee = i;
    }
  }
  return knee;
}

ExploreComparison Compared(const std::vector<ExplorePoint>& points, size_t a, size_t b) {
  return {a,
          b,
          PairedInterval(Statistic::kTextKl, points[a].evaluation, points[b].evaluation),
          PairedInterval(Statistic::kFdtMean, points[a].evaluation, points[b].evaluation)};
}

// The curve's largest point that is not larger than `size_bytes` and its smallest that is not
// smaller.
std::vector<size_t> Neighbours(const std::vector<ExplorePoint>& points,
                               size_t curve,
                               int64_t size_bytes) {
  std::optional<size_t> below, above;
  for (size_t i = 0; i < curve; ++i) {
    const int64_t size = points[i].size_bytes;
    if (size <= size_bytes && (!below.has_value() || size > points[*below].size_bytes)) below = i;
    if (size >= size_bytes && (!above.has_value() || size < points[*above].size_bytes)) above = i;
  }
  std::vector<size_t> found;
  if (below.has_value()) found.push_back(*below);
  if (above.has_value() && above != below) found.push_back(*above);
  return found;
}

// The curve's points among each other, what has a budget with the curve's of it, and what has
// none with those next to it in size.
std::vector<ExploreComparison> ComparisonsOf(const std::vector<ExplorePoint>& points,
                                             size_t curve) {
  std::vector<ExploreComparison> comparisons;
  for (size_t b = 0; b < curve; ++b) {
    for (size_t a = b + 1; a < curve; ++a) comparisons.push_back(Compared(points, a, b));
  }
  for (size_t b = curve; b < points.size(); ++b) {
    if (points[b].budget.empty()) {
      for (const size_t a : Neighbours(points, curve, points[b].size_bytes)) {
        comparisons.push_back(Compared(points, a, b));
      }
      continue;
    }
    for (size_t a = 0; a < curve; ++a) {
      if (points[a].budget == points[b].budget) comparisons.push_back(Compared(points, a, b));
    }
  }
  return comparisons;
}

// Mixes, then files, not measured yet.
absl::StatusOr<std::vector<ExplorePoint>> OthersOf(const Model& model,
                                                   const ExploreOptions& options) {
  std::vector<ExplorePoint> others;
  const auto add = [&](const char* method, const std::string& label, Assignment assignment) {
    ExplorePoint point;
    point.method = method;
    point.label = label;
    point.assignment = std::move(assignment);
    point.size_bytes = AssignmentBytes(point.assignment, model);
    others.push_back(std::move(point));
  };
  for (const std::string& name : options.rivals) {
    if (!IsMix(name)) continue;
    BB_ASSIGN_OR_RETURN(Assignment mix, LlamaCppMix(name, ModelForTargets(model)));
    add(kMixMethod, absl::AsciiStrToUpper(name), std::move(mix));
  }
  const ProbeOptions& probes = options.plan.workspace.probes;
  for (const ExploreFile& file : options.files) {
    BB_RETURN_IF_ERROR(
        CheckSameModel(model, *file.model, probes.prefix_tokens + probes.completion_tokens));
    add(kFileMethod, file.label, StoredAssignment(*file.model));
  }
  return others;
}

// `others` are those of OthersOf.
HeldOutExtras ExtrasOf(const ExploreOptions& options, const std::vector<ExplorePoint>& others) {
  HeldOutExtras extras{.continuations = options.continuations};
  for (const ExplorePoint& mix : others) {
    if (mix.method == kMixMethod) extras.others.emplace_back(mix.assignment);
  }
  for (const ExploreFile& file : options.files) extras.others.emplace_back(file.model);
  return extras;
}

}  // namespace

std::vector<std::string> ExploreRivals() {
  std::vector<std::string> names;
  for (const Rival& rival : kRivals) names.push_back(rival.name);
  for (const std::string& mix : LlamaCppMixes()) names.push_back(mix);
  return names;
}

absl::Status ExploreOptions::Validate() const {
  if (budgets.empty()) return absl::InvalidArgumentError("no budget is given");
  const TargetProfile* const target = plan.constraints.target;
  for (const std::string& name : rivals) {
    if (!IsMix(name)) {
      BB_RETURN_IF_ERROR(FindRival(name).status());
    } else if (target == nullptr || target->name() != "llama.cpp") {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is a mix of llama.cpp's quantizer; plan for that target"));
    }
  }
  for (const PlanOptions& job : JobsOf(*this)) BB_RETURN_IF_ERROR(job.Validate());
  return absl::OkStatus();
}

absl::StatusOr<PlanPreview> PreviewExploration(const Model& model, const ExploreOptions& options) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(const std::vector<ExplorePoint> others, OthersOf(model, options));
  return PreviewPlans(model, JobsOf(options), ExtrasOf(options, others), /*ranks=*/1);
}

absl::StatusOr<ExploreReport> RunExploreJob(const Model& model,
                                            const ExploreOptions& options,
                                            Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  const std::vector<PlanOptions> jobs = JobsOf(options);
  BB_ASSIGN_OR_RETURN(const std::vector<ExplorePoint> others, OthersOf(model, options));
  const HeldOutExtras extras = ExtrasOf(options, others);
  ExploreReport report;
  std::vector<Evaluation> measured;
  BB_ASSIGN_OR_RETURN(std::vector<PlanOutcome> outcomes,
                      RunPlanJobs(model, jobs, extras, progress, &measured, &report.memory));
  report.complete =
      outcomes.size() == jobs.size() &&
      std::all_of(outcomes.begin(),
                  outcomes.end(),
                  [](const PlanOutcome& outcome) { return outcome.plan.complete(); }) &&
      measured.size() == others.size();
  const size_t budgets = options.budgets.size();
  const std::vector<std::string> searched = Searched(options);
  std::map<int64_t, ExplorePoint> uniform;  // by size
  std::vector<ExplorePoint> rivals;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    PlanOutcome& outcome = outcomes[i];
    if (!outcome.plan.complete()) continue;
    const std::string& budget = options.budgets[i % budgets].text;
    ExplorePoint point;
    point.label = point.budget = budget;
    if (i >= budgets) {
      point.method = searched[i / budgets - 1];
      point.assignment = outcome.found;
      point.evaluation = outcome.found_evaluation;
      point.size_bytes = outcome.problem.TotalBytes(point.assignment);
      rivals.push_back(std::move(point));
      continue;
    }
    point.method = options.plan.search;
    point.assignment = outcome.assignment;
    point.evaluation = outcome.evaluation;
    point.size_bytes = outcome.problem.TotalBytes(point.assignment);
    const plans::HeldOut& held_out = outcome.plan.held_out();
    if (!held_out.uniform_format().empty()) {
      const absl::StatusOr<Format> format = ParseFormat(held_out.uniform_format());
      BB_RETURN_IF_ERROR(format.status());
      ExplorePoint other;
      other.method = "uniform";
      other.label = held_out.uniform_format();
      other.budget = budget;
      other.assignment = outcome.problem.ToAssignment(outcome.problem.Uniform(*format));
      other.size_bytes = held_out.uniform_size_bytes();
      other.evaluation = outcome.uniform_evaluation;
      uniform.emplace(other.size_bytes, std::move(other));
    }
    point.outcome = report.outcomes.size();
    report.points.push_back(std::move(point));
    report.outcomes.push_back(std::move(outcome));
  }
  const size_t curve = report.points.size();
  report.knee = KneeOf(report.points);
  for (auto& [size, point] : uniform) report.points.push_back(std::move(point));
  for (ExplorePoint& point : rivals) report.points.push_back(std::move(point));
  for (size_t i = 0; i < measured.size(); ++i) {
    report.points.push_back(others[i]);
    report.points.back().evaluation = std::move(measured[i]);
  }
  report.comparisons = ComparisonsOf(report.points, curve);
  return report;
}

}  // namespace bitbudget
