#ifndef BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_
#define BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_

#include <set>
#include <string>
#include <vector>

namespace bitbudget::internal {

// What one name in one layer shall get.
struct LayerEntry {
  int layer = 0;
  std::string suffix;  // the name behind the layer number
  std::string value;
};

// All names `suffixes` of all `layers` get `value`.
struct LayerRule {
  std::set<int> layers;
  std::vector<std::string> suffixes;
  std::string value;
};

// Few rules that say what the entries say. Disjoint: every entry is in exactly one. In the order of
// first entries.
std::vector<LayerRule> CompactRules(const std::vector<LayerEntry>& entries);

// A regular expression for exactly these decimal numbers: "7", "([0-9]|1[0-5])", "(0|2|4)". It uses
// only what every dialect has and means alike, and nothing that changes in lower case. REQUIRES:
// not empty, none negative.
std::string NumbersRegex(const std::set<int>& numbers);

// "a" or "(a|b)". REQUIRES: not empty.
std::string Alternatives(const std::vector<std::string>& texts);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_
