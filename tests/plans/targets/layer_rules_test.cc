#include "plans/targets/layer_rules.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/patterns.h"
#include "runtime/base/random.h"
#include "runtime/base/regex.h"

namespace bitbudget::internal {
namespace {

TEST(NumbersRegex, IsShortForRanges) {
  EXPECT_EQ(NumbersRegex({7}), "7");
  EXPECT_EQ(NumbersRegex({0, 2, 4}), "[024]");
  EXPECT_EQ(NumbersRegex({3, 4}), "[34]");
  std::set<int> all;
  for (int n = 0; n < 40; ++n) all.insert(n);
  EXPECT_EQ(NumbersRegex(all), "([0-9]|[1-3][0-9])");
  EXPECT_EQ(NumbersRegex({9, 10, 11}), "(9|1[01])");
}

// Both dialects match exactly the numbers of random sets, among all that are around.
TEST(NumbersRegex, MatchesTheseNumbersAndNoOthers) {
  Random random(5, {});
  for (int trial = 0; trial < 60; ++trial) {
    const int top = trial % 3 == 0 ? 10 : trial % 3 == 1 ? 100 : 1100;
    std::set<int> numbers;
    const int count = 1 + static_cast<int>(random.Below(top));
    for (int i = 0; i < count; ++i) numbers.insert(static_cast<int>(random.Below(top)));
    const std::string pattern = absl::StrCat("^", NumbersRegex(numbers), "$");
    EXPECT_EQ(pattern.find_first_of(",= ABCDEFGHIJKLMNOPQRSTUVWXYZ"), std::string::npos);
    const auto ecma = Regex::Compile(pattern, RegexDialect::kEcmaScript);
    const auto python = Regex::Compile(pattern, RegexDialect::kPython);
    ASSERT_TRUE(ecma.ok() && python.ok()) << pattern;
    for (int n = 0; n < top + 120; ++n) {
      const std::string text = absl::StrCat(n);
      EXPECT_EQ(*ecma->Matches(text, Regex::Where::kAnywhere), numbers.contains(n))
          << pattern << " " << n;
      EXPECT_EQ(*python->Matches(text, Regex::Where::kAtStart), numbers.contains(n))
          << pattern << " " << n;
    }
  }
}

TEST(CompactRules, SayEveryEntryOnce) {
  Random random(6, {});
  std::vector<LayerEntry> entries;
  std::map<std::pair<int, std::string>, std::string> meant;
  const char* const values[] = {"x", "y", "z"};
  for (int layer = 0; layer < 30; ++layer) {
    for (const char* suffix : {"a", "b", "c", "d"}) {
      const std::string value = suffix == std::string("d") ? "x" : values[random.Below(3)];
      entries.push_back({layer, suffix, value});
      meant[{layer, suffix}] = value;
    }
  }
  for (const LayerRule& rule : CompactRules(entries)) {
    for (const int layer : rule.layers) {
      for (const std::string& suffix : rule.suffixes) {
        const auto at = meant.find({layer, suffix});
        ASSERT_NE(at, meant.end()) << layer << " " << suffix << " twice";
        EXPECT_EQ(at->second, rule.value);
        meant.erase(at);
      }
    }
  }
  EXPECT_TRUE(meant.empty());
}

TEST(CompactRules, JoinsSuffixesThatShareTheirLayers) {
  const auto rules = CompactRules({{0, "q", "x"}, {0, "k", "x"}, {1, "q", "x"}, {1, "k", "x"}});
  ASSERT_EQ(rules.size(), 1u);
  EXPECT_EQ(rules[0].layers, (std::set<int>{0, 1}));
  EXPECT_EQ(rules[0].suffixes, (std::vector<std::string>{"q", "k"}));
  EXPECT_EQ(Alternatives(rules[0].suffixes), "(q|k)");
}

TEST(FnMatch, ReadsGlobsAsPythonDoes) {
  const struct {
    const char *pattern, *name;
    bool matches;
  } kCases[] = {
      {"", "", true},
      {"", "a", false},
      {"*", "", true},
      {"*", "abc", true},
      {"a*c", "abbc", true},
      {"a*c", "abcd", false},
      {"a?c", "abc", true},
      {"a?c", "ac", false},
      {"[ab]x", "bx", true},
      {"[!ab]x", "bx", false},
      {"[!ab]x", "cx", true},
      {"[a-c]", "b", true},
      {"[a-c]", "d", false},
      {"[]]", "]", true},
      {"[", "[", true},
      {"a.b", "axb", false},
      {"*a*b*c", "xaybzc", true},
      {"*a*b*c", "xaybz", false},
      {"*[0-9].q", "layers.1.q", true},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(FnMatch(c.pattern, c.name), c.matches) << c.pattern << " " << c.name;
  }
}

}  // namespace
}  // namespace bitbudget::internal
