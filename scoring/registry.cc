#include "scoring/registry.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/known_names.h"
#include "scoring/first_order.h"
#include "scoring/fisher.h"
#include "scoring/kfac.h"
#include "scoring/lim.h"
#include "scoring/linearity.h"
#include "scoring/signal.h"
#include "scoring/weighted_error.h"
#include "scoring/zd.h"

namespace bitbudget {
namespace {

constexpr Scorer kScorers[] = {
    {"lim", "how much a layer changes its input", ScorerNeeds::kTokens, false, false, 64, ScoreLim},
    {"zd", "share of outlier weights", ScorerNeeds::kWeights, false, false, 0, ScoreZd},
    {"signal",
     "how a format's error grows on its way",
     ScorerNeeds::kFormats,
     true,
     false,
     64,
     ScoreSignal},
    {"kfac", "divergence by gradients, factored", ScorerNeeds::kLadders, true, true, 16, ScoreKfac},
    {"fisher",
     "divergence by gradients, weight by weight",
     ScorerNeeds::kLadders,
     true,
     false,
     64,
     ScoreFisher},
    {"first-order",
     "gradient times change, weight by weight",
     ScorerNeeds::kLadders,
     true,
     false,
     64,
     ScoreFirstOrder},
    {"weighted-error",
     "squared error of weights by mean squared inputs",
     ScorerNeeds::kLadders,
     false,
     false,
     64,
     ScoreWeightedError,
     "squared change of outputs"},
    {"linearity",
     "relative error of weights times what noise showed it to cost",
     ScorerNeeds::kLadders,
     false,
     false,
     16,
     ScoreLinearity},
};

}  // namespace

std::span<const Scorer> Scorers() { return kScorers; }

absl::StatusOr<const Scorer*> FindScorer(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const Scorer& scorer : kScorers) {
    if (name == scorer.name) return &scorer;
    names.push_back(scorer.name);
  }
  return UnknownName("scorer", name, names);
}

std::vector<absl::string_view> CostScorerNames() {
  std::vector<absl::string_view> names;
  for (const Scorer& scorer : kScorers) {
    if (scorer.needs == ScorerNeeds::kLadders) names.push_back(scorer.name);
  }
  return names;
}

absl::StatusOr<const Scorer*> FindCostScorer(absl::string_view name) {
  for (const Scorer& scorer : kScorers) {
    if (scorer.needs == ScorerNeeds::kLadders && name == scorer.name) return &scorer;
  }
  return UnknownName("scorer of costs", name, CostScorerNames());
}

std::string DescribeScorers() {
  std::string text;
  for (const Scorer& scorer : kScorers) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", scorer.name, " (", scorer.description, ")");
  }
  return text;
}

}  // namespace bitbudget
