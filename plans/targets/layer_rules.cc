#include "plans/targets/layer_rules.h"

#include <glog/logging.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace bitbudget::internal {
namespace {

// "3", "[0-9]" or "[147]" for a set of digits.
std::string DigitsRegex(const std::set<int>& digits) {
  std::string inside;
  for (auto it = digits.begin(); it != digits.end();) {
    const int first = *it;
    int last = first;
    while (++it != digits.end() && *it == last + 1) ++last;
    absl::StrAppend(&inside, first);
    if (last > first) absl::StrAppend(&inside, last > first + 1 ? "-" : "", last);
  }
  return inside.size() == 1 ? inside : absl::StrCat("[", inside, "]");
}

}  // namespace

std::vector<LayerRule> CompactRules(const std::vector<LayerEntry>& entries) {
  // First the layers of each suffix and value, then the suffixes that share both.
  std::vector<std::pair<std::string, std::string>> order;
  std::map<std::pair<std::string, std::string>, std::set<int>> layers;
  for (const LayerEntry& entry : entries) {
    const std::pair key(entry.suffix, entry.value);
    if (!layers.contains(key)) order.push_back(key);
    layers[key].insert(entry.layer);
  }
  std::vector<LayerRule> rules;
  for (const auto& key : order) {
    const auto& [suffix, value] = key;
    bool joined = false;
    for (LayerRule& rule : rules) {
      if (rule.value != value || rule.layers != layers[key]) continue;
      rule.suffixes.push_back(suffix);
      joined = true;
      break;
    }
    if (!joined) rules.push_back({layers[key], {suffix}, value});
  }
  return rules;
}

std::string NumbersRegex(const std::set<int>& numbers) {
  CHECK(!numbers.empty() && *numbers.begin() >= 0);
  std::map<int, std::set<int>> last_digits;  // by what stands before them; -1: nothing
  for (const int number : numbers) {
    last_digits[number < 10 ? -1 : number / 10].insert(number % 10);
  }
  // What stands before equal sets of last digits is written once.
  std::vector<std::pair<std::string, std::set<int>>> alternatives;
  for (const auto& [before, digits] : last_digits) {
    const std::string text = DigitsRegex(digits);
    bool joined = false;
    for (auto& [last, befores] : alternatives) {
      if (before < 0 || last != text || befores.contains(-1)) continue;
      befores.insert(before);
      joined = true;
      break;
    }
    if (!joined) alternatives.push_back({text, {before}});
  }
  std::vector<std::string> texts;
  for (const auto& [last, befores] : alternatives) {
    texts.push_back(
        absl::StrCat(befores.contains(-1) ? std::string() : NumbersRegex(befores), last));
  }
  return Alternatives(texts);
}

std::string Alternatives(const std::vector<std::string>& texts) {
  CHECK(!texts.empty());
  return texts.size() == 1 ? texts[0] : absl::StrCat("(", absl::StrJoin(texts, "|"), ")");
}

}  // namespace bitbudget::internal
