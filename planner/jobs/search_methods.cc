#include "planner/jobs/search_methods.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "planner/runs/messages.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/stored_evaluator.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "search/widths.h"

namespace bitbudget {
namespace {

constexpr uint64_t kLayerOrderStream = 3;  // of the seed, for the random layer order

MethodOptions MethodOptionsOf(const PlanOptions& options) {
  MethodOptions method;
  method.objective = Objective(options.objective);
  method.exhaustive = options.exhaustive;
  method.beam_width = options.beam_width;
  method.beam_order = options.order;
  method.seed = options.workspace.probes.seed;
  return method;
}

const MethodInfo& MethodOf(const PlanOptions& options) {
  const absl::StatusOr<const MethodInfo*> method = FindMethod(options.search);
  CHECK(method.ok()) << method.status();
  return **method;
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
    const bool formats = scorer->needs >= ScorerNeeds::kFormats;
    BB_ASSIGN_OR_RETURN(const std::string stored,
                        run->Remember(absl::StrCat("order/",
                                                   options_.search,
                                                   "/",
                                                   options_.scorer,
                                                   "/",
                                                   Sequences(*scorer),
                                                   formats ? CandidateName(Lowered()) : ""),
                                      [&]() -> absl::StatusOr<std::string> {
                                        BB_ASSIGN_OR_RETURN(const std::vector<int> order,
                                                            Make(*scorer));
                                        return SerializeLayerOrder(order);
                                      }));
    return ParseLayerOrder(stored, "the run store");
  }

 private:
  int64_t Sequences(const Scorer& scorer) const {
    return scorer.needs == ScorerNeeds::kLadders ? scorer.sequences : options_.search_probes;
  }

  absl::StatusOr<std::vector<int>> Make(const Scorer& scorer) const {
    if (NeedsOf(options_).layer_order == MethodNeeds::LayerOrder::kRandom) {
      std::vector<int> order(workspace_.model().config().num_hidden_layers);
      std::iota(order.begin(), order.end(), 0);
      Random random(options_.workspace.probes.seed, {kLayerOrderStream});
      random.Shuffle(order);
      return order;
    }
    ScoreContext context;
    context.model = &workspace_.model();
    context.detail = ScoreDetail::kLayers;
    context.threads = options_.workspace.threads;
    context.progress = progress_;
    std::vector<std::vector<int32_t>> sequences;
    Assignment lowered;
    if (scorer.needs != ScorerNeeds::kWeights) {
      const auto make =
          scorer.needs == ScorerNeeds::kLadders ? GradientSequences : CalibrationPrompts;
      BB_ASSIGN_OR_RETURN(sequences, make(maker_, Sequences(scorer), &workspace_, progress_));
      context.transformer = &workspace_.transformer();
      context.bank = workspace_.bank();
      context.sequences = sequences;
    }
    std::vector<std::vector<Format>> ladders;
    if (scorer.needs >= ScorerNeeds::kFormats) {
      lowered = Lowered();
      context.assignment = &lowered;
      for (const Format& format : lowered) ladders.push_back({format});
      context.ladders = &ladders;
      context.seed = options_.workspace.probes.seed;
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
  BB_ASSIGN_OR_RETURN(const MethodInfo* const method, FindMethod(options.search));
  BB_RETURN_IF_ERROR(FindScorer(options.scorer).status());
  if (options.costs != PlanOptions::kOutputError) {
    BB_RETURN_IF_ERROR(FindCostScorer(options.costs).status());
  }
  BB_RETURN_IF_ERROR(CheckMethodOptions(MethodOptionsOf(options)));
  if (options.retraining.has_value()) {
    if (!method->retrains) {
      return absl::InvalidArgumentError(absl::StrCat(
          "search method ", options.search, " has no rounds to retrain after; sparsify has"));
    }
    BB_RETURN_IF_ERROR(options.retraining->Validate());
  }
  if (NeedsOf(options).text && options.workspace.probes.source != ProbeSource::kText) {
    return absl::InvalidArgumentError(
        absl::StrCat("the beam order ",
                     MeritKindName(options.order),
                     " is the perplexity of natural text, but probes come from the ",
                     ProbeSourceName(options.workspace.probes.source),
                     "; take them from a text"));
  }
  const auto* goal = std::get_if<SparsityGoal>(&options.limit);
  if (goal == nullptr) return absl::OkStatus();
  const int permille = goal->target.permille;
  if (permille < 1 || permille > 1000) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sparsity target is ", permille / 10.0, " %; it must be 0.1 to 100"));
  }
  if (method->takes_sparsity) return absl::OkStatus();
  std::vector<std::string> able;
  for (const MethodInfo& other : SearchMethods()) {
    if (other.takes_sparsity) able.push_back(other.name);
  }
  return absl::InvalidArgumentError(absl::StrCat("search method ",
                                                 options.search,
                                                 " needs a size budget; a sparsity target is for ",
                                                 absl::StrJoin(able, ", ")));
}

MethodNeeds NeedsOf(const PlanOptions& options) {
  return MethodOf(options).needs(MethodOptionsOf(options));
}

bool NeedsCalibrationPrompts(const PlanOptions& options) {
  return NeedsOf(options).layer_order == MethodNeeds::LayerOrder::kScored;
}

int64_t GradientProbes(const PlanOptions& options) {
  int64_t probes = 0;
  const auto add = [&](const Scorer& scorer) {
    if (scorer.needs == ScorerNeeds::kLadders) probes = std::max(probes, scorer.sequences);
  };
  if (NeedsCalibrationPrompts(options)) add(**FindScorer(options.scorer));
  if (NeedsOf(options).output_errors && options.CostScorer() != nullptr) {
    add(*options.CostScorer());
    if (NeedsOf(options).moves && options.CostScorer()->pairs) {
      probes = std::max(probes, MoveProbes(options.search_probes));
    }
  }
  return probes;
}

absl::StatusOr<std::unique_ptr<SearchMethod>> MakeMethod(const PlanOptions& options,
                                                         const SearchProblem& problem,
                                                         const ProbeMaker& maker,
                                                         Workspace* workspace,
                                                         Run* run,
                                                         Progress* progress) {
  BB_RETURN_IF_ERROR(CheckMethod(options));
  MethodOptions method = MethodOptionsOf(options);
  // Where everything is pinned there is one assignment, which no order changes.
  if (NeedsOf(options).layer_order != MethodNeeds::LayerOrder::kNone && !problem.AllPinned()) {
    BB_ASSIGN_OR_RETURN(method.layer_order,
                        LayerOrder(options, problem, maker, workspace, progress).Remembered(run));
  }
  return MethodOf(options).make(method);
}

}  // namespace bitbudget
