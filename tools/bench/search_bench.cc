#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/measure.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/base/status_macros.h"
#include "tools/bench/bench.h"
#include "tools/bench/interleave.h"

namespace bitbudget {
namespace {

constexpr const char* kIncumbent = "int4-g64";
constexpr const char* kChanged = "int8-g64";
// Candidates change one component each; so many are spread evenly over the model.
constexpr int64_t kCandidates = 8;

// What was measured while the timed calls ran, and the first error of one of them.
struct Outcome {
  absl::Status status;
  void Note(const absl::Status& other) {
    if (status.ok()) status = other;
  }
};

// Every cheap answer must be that of a full pass of the same candidate.
absl::Status CheckCandidate(const ComponentFormat& change, Evaluator* evaluator) {
  const std::span<const ComponentFormat> delta(&change, 1);
  const int64_t probes = evaluator->probe_count();
  BB_ASSIGN_OR_RETURN(const Evaluation full,
                      evaluator->EvaluateFromScratch(WithDelta(evaluator->incumbent(), delta)));
  BB_ASSIGN_OR_RETURN(const Evaluation cached, evaluator->Evaluate(delta));
  BB_ASSIGN_OR_RETURN(const Evaluation quarter, evaluator->Evaluate(delta, {0, probes / 4}));
  BB_ASSIGN_OR_RETURN(const std::vector<int> fdt, evaluator->EvaluateFdt(delta, {0, probes}));
  const auto fdt_is = [&](size_t i) { return fdt[i] == full[i].fdt; };
  bool same = cached == full && std::equal(quarter.begin(), quarter.end(), full.begin());
  for (size_t i = 0; i < full.size(); ++i) same = same && fdt_is(i);
  if (same) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("search: component ", change.component, ": a candidate is not its full pass"));
}

}  // namespace

absl::Status RunSearchBench(const BenchOptions& options, const BenchSink& sink) {
  const int threads = options.threads.empty() ? 1 : options.threads.front();
  Progress progress;  // shows nothing
  const std::string folder = options.model.empty() ? BITBUDGET_BENCH_MODEL : options.model;
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::Load(folder, threads));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker, ProbeMaker::Create(*model, {}));
  WorkspaceOptions bench_options;
  bench_options.threads = threads;
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> bench,
                      Workspace::Create(*model, bench_options, maker->context()));
  BB_ASSIGN_OR_RETURN(
      const ProbeSet set,
      MakeProbeSet(*maker, ProbeRole::kSearch, options.probes, bench.get(), &progress));
  Evaluator& evaluator = *set.evaluator;
  const int64_t probes = evaluator.probe_count();
  BB_ASSIGN_OR_RETURN(const Format incumbent_format, ParseFormat(kIncumbent));
  BB_ASSIGN_OR_RETURN(const Format changed, ParseFormat(kChanged));
  BB_ASSIGN_OR_RETURN(const Assignment incumbent, UniformAssignment(incumbent_format, *model));
  BB_RETURN_IF_ERROR(evaluator.SetIncumbent(incumbent));

  std::vector<ComponentFormat> candidates;
  const int64_t components = static_cast<int64_t>(model->components().size());
  const int64_t count = std::min(kCandidates, components);
  for (int64_t i = 0; i < count; ++i) {
    candidates.push_back(
        {static_cast<ComponentId>((2 * i + 1) * components / (2 * count)), changed});
    BB_RETURN_IF_ERROR(CheckCandidate(candidates.back(), &evaluator));
  }

  Outcome outcome;
  std::vector<std::function<void()>> contestants = {
      [&] { outcome.Note(evaluator.EvaluateFromScratch(incumbent).status()); }};
  for (const ComponentFormat& change : candidates) {
    const std::span<const ComponentFormat> delta(&change, 1);
    contestants.push_back([&, delta] { outcome.Note(evaluator.Evaluate(delta).status()); });
    contestants.push_back([&, delta] {
      outcome.Note(evaluator.Evaluate(delta, {0, probes / 4}).status());
    });
    contestants.push_back([&, delta] {
      outcome.Note(evaluator.EvaluateFdt(delta, {0, probes}).status());
    });
  }
  const std::vector<Timing> timings = Interleave(
      contestants,
      {.repetitions = options.repetitions, .threads = threads, .min_seconds = options.min_seconds});
  BB_RETURN_IF_ERROR(outcome.status);

  BenchResult result;
  result.bench = "search";
  result.threads = threads;
  result.baseline = "full pass";
  const auto report =
      [&](const std::string& path, const std::string& format, const Timing& timing) {
        result.path = path;
        result.format = format;
        result.per_s = 1 / Median(timing);
        result.ratio = SpeedRatio(timing, timings[0]);
        result.spread = RelativeSpread(timing);
        sink(result);
      };
  report(absl::StrCat("full pass, ", probes, " probes"), kIncumbent, timings[0]);
  const char* const kinds[] = {
      "candidate", "candidate, a quarter of the probes", "candidate, FDT only"};
  for (size_t kind = 0; kind < std::size(kinds); ++kind) {
    Timing mean(timings[0].size());
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Timing& timing = timings[1 + 3 * i + kind];
      report(kinds[kind], model->component(candidates[i].component).name, timing);
      for (size_t round = 0; round < mean.size(); ++round) {
        mean[round] += timing[round] / static_cast<double>(candidates.size());
      }
    }
    report(kinds[kind], "mean of them", mean);
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
