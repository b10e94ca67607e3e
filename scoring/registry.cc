#include "scoring/registry.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/known_names.h"
#include "scoring/fisher.h"
#include "scoring/kfac.h"
#include "scoring/lim.h"
#include "scoring/signal.h"
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

absl::StatusOr<const Scorer*> FindCostScorer(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const Scorer& scorer : kScorers) {
    if (scorer.needs != ScorerNeeds::kLadders) continue;
    if (name == scorer.name) return &scorer;
    names.push_back(scorer.name);
  }
  return UnknownName("scorer of costs", name, names);
}

std::string DescribeScorers() {
  std::string text;
  for (const Scorer& scorer : kScorers) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", scorer.name, " (", scorer.description, ")");
  }
  return text;
}

}  // namespace bitbudget
