#ifndef BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_
#define BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_

#include <set>
#include <string>
#include <vector>

namespace bitbudget::internal {

// What one name in one layer is to get.
struct LayerEntry {
  int layer = 0;
  std::string suffix;  // of the name, after the layer number
  std::string value;
};

// All names `suffixes` of all `layers` get `value`.
struct LayerRule {
  std::set<int> layers;
  std::vector<std::string> suffixes;
  std::string value;
};

// A few rules that together say what the entries say, each entry in exactly one. In the order of
// their first entries.
std::vector<LayerRule> CompactRules(const std::vector<LayerEntry>& entries);

// A regular expression for exactly these decimal numbers: "7", "[024]", "([0-9]|1[0-5])". It uses
// only what means the same in every dialect, and no capitals. REQUIRES: not empty, none negative.
std::string NumbersRegex(const std::set<int>& numbers);

// "a" or "(a|b)". REQUIRES: not empty.
std::string Alternatives(const std::vector<std::string>& texts);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_LAYER_RULES_H_
