#ifndef BITBUDGET_SCORING_REGISTRY_H_
#define BITBUDGET_SCORING_REGISTRY_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scoring/scorer.h"

namespace bitbudget {

// All scorers. The table in registry.cc is the only list of them.
std::span<const Scorer> Scorers();

// kInvalidArgument lists the known names.
absl::StatusOr<const Scorer*> FindScorer(absl::string_view name);

// The scorers that cost several formats (ScorerNeeds::kLadders), likewise.
std::vector<absl::string_view> CostScorerNames();
absl::StatusOr<const Scorer*> FindCostScorer(absl::string_view name);

// "lim (what a layer changes), zd (...)": for the help of an option that takes a scorer's name.
std::string DescribeScorers();

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_REGISTRY_H_
