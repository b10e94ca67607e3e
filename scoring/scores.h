#ifndef BITBUDGET_SCORING_SCORES_H_
#define BITBUDGET_SCORING_SCORES_H_

#include <string>
#include <vector>

namespace bitbudget {

// Importance of the decoder blocks: scores rank, they never decide.
struct BlockScores {
  std::string scorer;          // "lim", "zd"
  std::vector<double> blocks;  // the paper's score of every block
  std::vector<int> order;      // block indices, most important first
  // The score of every component, where the scorer's definition allows (ZD); else empty.
  std::vector<double> components;
  // The score of each half of every block, where the definition allows (LIM); else empty.
  std::vector<double> attention;
  std::vector<double> mlp;
};

// Block indices by importance, most important first; equal scores: the lower block index is the
// more important one (docs/design.md, "Scorers").
std::vector<int> OrderByImportance(const std::vector<double>& scores, bool larger_is_important);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SCORES_H_
