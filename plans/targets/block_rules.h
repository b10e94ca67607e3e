#ifndef BITBUDGET_PLANS_TARGETS_BLOCK_RULES_H_
#define BITBUDGET_PLANS_TARGETS_BLOCK_RULES_H_

#include <set>
#include <string>
#include <vector>

namespace bitbudget::internal {

// What one name in one block shall get.
struct BlockEntry {
  int block = 0;
  std::string suffix;  // the name behind the block number
  std::string value;
};

// All names `suffixes` of all `blocks` get `value`.
struct BlockRule {
  std::set<int> blocks;
  std::vector<std::string> suffixes;
  std::string value;
};

// Few rules that say what the entries say. Disjoint: every entry is in exactly one. In the order of
// first entries.
std::vector<BlockRule> CompactRules(const std::vector<BlockEntry>& entries);

// A regular expression for exactly these decimal numbers: "7", "([0-9]|1[0-5])", "(0|2|4)". It uses
// only what every dialect has and means alike, and nothing that changes in lower case. REQUIRES:
// not empty, none negative.
std::string NumbersRegex(const std::set<int>& numbers);

// "a" or "(a|b)". REQUIRES: not empty.
std::string Alternatives(const std::vector<std::string>& texts);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_BLOCK_RULES_H_
