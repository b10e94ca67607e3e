#ifndef BITBUDGET_SCORING_SCORES_H_
#define BITBUDGET_SCORING_SCORES_H_

#include <string>
#include <vector>

namespace bitbudget {

// Importance of the decoder layers: scores rank, they never decide.
struct LayerScores {
  std::string scorer;          // "lim", "zd"
  std::vector<double> layers;  // the paper's score of every layer
  std::vector<int> order;      // layer indices, most important first
  // The score of every component, where the scorer's definition allows (ZD); else empty.
  std::vector<double> components;
  // The score of each half of every layer, where the definition allows (LIM); else empty.
  std::vector<double> attention;
  std::vector<double> mlp;
};

// Layer indices by importance, most important first; equal scores: the lower layer index is the
// more important one (docs/design.md, "Scorers").
std::vector<int> OrderByImportance(const std::vector<double>& scores, bool larger_is_important);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SCORES_H_
