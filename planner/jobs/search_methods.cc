#include "planner/jobs/search_methods.h"

#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/packing.h"
#include "planner/runs/stored_evaluator.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "search/additive.h"
#include "search/beam.h"
#include "search/greedy.h"
#include "search/ordered.h"
#include "search/sparsify.h"
#include "search/uniform.h"
#include "search/widths.h"

namespace bitbudget {
namespace {

constexpr uint64_t kLayerOrderStream = 3;  // of the seed, for the random layer order

constexpr const char* kSearchNames[] = {
    "greedy", "additive", "layerwise", "uniform", "random", "beam", "sparsify"};

template <size_t N>
absl::Status CheckName(const char* option, const std::string& name, const char* const (&known)[N]) {
  std::string list;
  for (const char* candidate : known) {
    if (name == candidate) return absl::OkStatus();
    absl::StrAppend(&list, list.empty() ? "" : ", ", candidate);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(option, " '", name, "' is unknown; known are: ", list));
}

BeamOptions BeamOptionsOf(const PlanOptions& options) {
  BeamOptions beam;
  beam.width = options.beam_width;
  beam.order = options.order;
  beam.exhaustive = options.exhaustive;
  return beam;
}

// Scores layers for the methods that go by their order.
class LayerOrder {
 public:
  LayerOrder(const PlanOptions& options,
             const SearchProblem& problem,
             const ProbeMaker& maker,
             Workspace* workspace,
             Progress* progress)
      : options_(options),
        problem_(problem),
        maker_(maker),
        workspace_(*workspace),
        progress_(progress) {}

  absl::StatusOr<std::vector<int>> Remembered(Run* run) const {
    BB_ASSIGN_OR_RETURN(const Scorer* const scorer, FindScorer(options_.scorer));
    const bool formats = scorer->needs == ScorerNeeds::kFormats;
    BB_ASSIGN_OR_RETURN(const std::string packed,
                        run->Remember(absl::StrCat("order/",
                                                   options_.search,
                                                   "/",
                                                   options_.scorer,
                                                   "/",
                                                   options_.search_probes,
                                                   formats ? CandidateName(Lowered()) : ""),
                                      [&]() -> absl::StatusOr<std::string> {
                                        BB_ASSIGN_OR_RETURN(const std::vector<int> order,
                                                            Make(*scorer));
                                        Packer packer;
                                        packer.Numbers(order);
                                        return packer.Take();
                                      }));
    return Unpacker(packed).Numbers<int>();
  }

 private:
  absl::StatusOr<std::vector<int>> Make(const Scorer& scorer) const {
    if (options_.search == "random") {
      std::vector<int> order(workspace_.model().config().num_hidden_layers);
      std::iota(order.begin(), order.end(), 0);
      Random random(options_.probes.seed, {kLayerOrderStream});
      random.Shuffle(order);
      return order;
    }
    ScoreContext context;
    context.model = &workspace_.model();
    context.detail = ScoreDetail::kLayers;
    context.threads = options_.threads;
    context.progress = progress_;
    std::vector<std::vector<int32_t>> sequences;
    Assignment lowered;
    if (scorer.needs != ScorerNeeds::kWeights) {
      BB_ASSIGN_OR_RETURN(
          sequences, CalibrationPrompts(maker_, options_.search_probes, &workspace_, progress_));
      context.transformer = &workspace_.transformer();
      context.bank = workspace_.bank();
      context.sequences = sequences;
    }
    if (scorer.needs == ScorerNeeds::kFormats) {
      lowered = Lowered();
      context.assignment = &lowered;
    }
    BB_ASSIGN_OR_RETURN(LayerScores scores, scorer.score(context));
    return std::move(scores.order);
  }

  // Every unit in what layerwise would lower it to, the widest format that fits everywhere: where
  // the errors of that go decides which layer is to be raised first.
  Assignment Lowered() const {
    const std::vector<std::vector<Format>> chains = WidthChains(problem_);
    if (chains.empty()) return workspace_.bank()->StoredAssignment();  // and nothing to be ordered
    return problem_.ToAssignment(Everywhere(problem_, chains[0][0]));
  }

  const PlanOptions& options_;
  const SearchProblem& problem_;
  const ProbeMaker& maker_;
  Workspace& workspace_;
  Progress* progress_;
};

}  // namespace

absl::Status CheckMethod(const PlanOptions& options) {
  BB_RETURN_IF_ERROR(CheckName("--search", options.search, kSearchNames));
  BB_RETURN_IF_ERROR(FindScorer(options.scorer).status());
  BB_RETURN_IF_ERROR(BeamOptionsOf(options).Validate());
  if (UsesText(options) && options.probes.source != ProbeSource::kText) {
    return absl::InvalidArgumentError(
        absl::StrCat("--order ppl measures perplexity on natural text, but probes come from the ",
                     ProbeSourceName(options.probes.source),
                     "; give a text with --text"));
  }
  if (options.sparsity_permille == 0) return absl::OkStatus();
  if (options.sparsity_permille < 0 || options.sparsity_permille > 1000) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--sparsity is ", options.sparsity_permille / 10.0, " %; it must be 0.1 to 100"));
  }
  if (options.search == "sparsify" || options.search == "uniform") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--sparsity is a target of --search sparsify and uniform, not of ",
                   options.search,
                   ", which takes a --budget"));
}

bool UsesErrors(const PlanOptions& options) {
  return !options.exhaustive && (options.search == "greedy" || options.search == "additive");
}

bool UsesText(const PlanOptions& options) {
  return options.search == "beam" && options.order == MeritKind::kPpl;
}

bool UsesCalibration(const PlanOptions& options) { return options.search == "layerwise"; }

absl::StatusOr<std::unique_ptr<SearchMethod>> MakeMethod(const PlanOptions& options,
                                                         const SearchProblem& problem,
                                                         const Objective& objective,
                                                         const ProbeMaker& maker,
                                                         Workspace* workspace,
                                                         Run* run,
                                                         Progress* progress) {
  if (options.search == "additive") return MakeAdditiveSearch();
  if (options.search == "greedy") return MakeGreedySearch(GreedyOptions(), objective);
  bool all_pinned = true;
  for (int c = 0; c < problem.size(); ++c) all_pinned = all_pinned && problem.Pinned(c);
  // Where all is pinned there is one assignment, and no order changes it.
  if (options.search == "uniform" || all_pinned) return MakeUniformSearch(objective);
  if (options.search == "beam") return MakeBeamSearch(BeamOptionsOf(options));
  if (options.search == "sparsify") return MakeSparsifySearch(SparsifyOptions());
  OrderedOptions ordered;
  ordered.name = options.search;
  BB_ASSIGN_OR_RETURN(ordered.layer_order,
                      LayerOrder(options, problem, maker, workspace, progress).Remembered(run));
  return MakeOrderedSearch(ordered, objective);
}

}  // namespace bitbudget
