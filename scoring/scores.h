#ifndef BITBUDGET_SCORING_SCORES_H_
#define BITBUDGET_SCORING_SCORES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/decoder/model.h"

namespace bitbudget {

// One quantity that a scorer reports for every component beside its score.
struct ComponentMeasure {
  enum class Mean : uint8_t { kArithmetic, kGeometric };

  std::string name;                                // as in JSON, "sqnr_db"
  std::string heading;                             // as in a table, "SQNR, dB"
  int digits = 5;                                  // decimals in a table; -n: n significant digits
  Mean mean = Mean::kArithmetic;                   // over the components of one kind
  bool by_layer = false;                           // also shown layer by layer
  std::vector<std::optional<double>> values = {};  // by component; nullopt: not defined for it
};

// Sensitivity of the decoder layers: scores order work, they never decide.
struct LayerScores {
  std::string scorer;          // its name in the registry
  std::vector<double> layers;  // by layer
  std::vector<int> order;      // layer indices, most important first

  // The score of each part of every layer, where the definition allows (LIM); else empty.
  struct Part {
    std::string name;            // "attention"
    std::vector<double> scores;  // by layer
  };
  std::vector<Part> parts;

  // The score of every component, where the definition allows (ZD, signal); else empty. nullopt:
  // not defined for this one.
  std::vector<std::optional<double>> components;

  // The cost of every component in every format of its ladder (ScorerNeeds::kLadders;
  // format_costs.h), in Scorer::cost_unit. Else empty.
  std::vector<std::vector<double>> costs;
  // Where ScoreContext::pairs asks: the same quadratic form between two formats, row by row, by
  // component. Entry (i, i) is the cost of format i; the cost of going from i to j is (i, i) + (j,
  // j) - 2 (i, j).
  std::vector<std::vector<double>> pairs;

  // What else is known of the components, and what these quantities are, in a few lines for people.
  std::vector<ComponentMeasure> measures;
  std::string legend;
};

// Which end of a scorer's scale marks the layers that need their bits most.
enum class MostImportant : uint8_t { kLargest, kSmallest };

// Layer indices, most important first; of equal scores the lower layer index is the more important
// one (docs/design.md, "Scorers").
std::vector<int> OrderByImportance(const std::vector<double>& scores, MostImportant which);

// The means of all measures over the components of one kind that have a value (of geometric means:
// a positive one); nullopt where there is none.
struct KindMeans {
  ComponentKind kind;
  int64_t components = 0;
  std::vector<std::optional<double>> means;  // by measure
};

// In the order of ComponentKind, without kinds that the model does not have.
std::vector<KindMeans> MeansByKind(const LayerScores& scores, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SCORES_H_
