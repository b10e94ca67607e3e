#include "runtime/model/tokenizer/special_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace bitbudget {
namespace {

using Parts = std::vector<std::pair<int32_t, std::string>>;

Parts Split(const SpecialTokens& tokens, absl::string_view text, bool parse_special) {
  Parts parts;
  for (const SpecialTokens::Part& part : tokens.Split(text, parse_special)) {
    parts.push_back({part.id, std::string(part.text)});
  }
  return parts;
}

SpecialTokens Make(const std::vector<std::pair<std::string, SpecialTokens::Token>>& list) {
  SpecialTokens tokens;
  for (const auto& [text, token] : list) tokens.Add(text, token);
  return tokens;
}

constexpr SpecialTokens::Token Plain(int32_t id) { return {id, true, false, false}; }
constexpr SpecialTokens::Token Control(int32_t id) { return {id, false, false, false}; }

TEST(SpecialTokens, CutsTheTextAtTokensAndKeepsEveryByte) {
  const SpecialTokens tokens = Make({{"<a>", Plain(1)}, {"<b>", Plain(2)}});
  EXPECT_EQ(Split(tokens, "x<a>yz<b>", false),
            (Parts{{-1, "x"}, {1, "<a>"}, {-1, "yz"}, {2, "<b>"}}));
  EXPECT_EQ(Split(tokens, "<a><a>", false), (Parts{{1, "<a>"}, {1, "<a>"}}));
  EXPECT_EQ(Split(tokens, "<c> <a", false), (Parts{{-1, "<c> <a"}}));
  EXPECT_EQ(Split(tokens, "", false), Parts{});
  EXPECT_EQ(Split(SpecialTokens(), "text", true), (Parts{{-1, "text"}}));
}

TEST(SpecialTokens, TheLeftmostThenTheLongestTokenWins) {
  // Added short, long, middle: the order must not matter.
  const SpecialTokens tokens =
      Make({{"ab", Plain(1)}, {"abcd", Plain(2)}, {"abc", Plain(3)}, {"bcde", Plain(4)}});
  EXPECT_EQ(Split(tokens, "abcde", false), (Parts{{2, "abcd"}, {-1, "e"}}));
  EXPECT_EQ(Split(tokens, "abcx", false), (Parts{{3, "abc"}, {-1, "x"}}));
  EXPECT_EQ(Split(tokens, "abx", false), (Parts{{1, "ab"}, {-1, "x"}}));
  EXPECT_EQ(Split(tokens, "xbcde", false), (Parts{{-1, "x"}, {4, "bcde"}}));
}

TEST(SpecialTokens, ControlTokensAreFoundOnlyWhenAskedFor) {
  const SpecialTokens tokens = Make({{"<s>", Control(1)}, {"<s", Plain(2)}});
  EXPECT_EQ(Split(tokens, "<s>", true), (Parts{{1, "<s>"}}));
  EXPECT_EQ(Split(tokens, "<s>", false), (Parts{{2, "<s"}, {-1, ">"}}));
}

TEST(SpecialTokens, TakesTheWhitespaceOnTheSidesThatATokenStrips) {
  const SpecialTokens tokens =
      Make({{"<l>", {1, true, true, false}}, {"<r>", {2, true, false, true}}, {"<n>", Plain(3)}});
  EXPECT_EQ(Split(tokens, "a \n<l> b", false), (Parts{{-1, "a"}, {1, "<l>"}, {-1, " b"}}));
  EXPECT_EQ(Split(tokens, "a <r> \u3000b", false), (Parts{{-1, "a "}, {2, "<r>"}, {-1, "b"}}));
  EXPECT_EQ(Split(tokens, "a <n> b", false), (Parts{{-1, "a "}, {3, "<n>"}, {-1, " b"}}));
  // Whitespace alone leaves no empty part.
  EXPECT_EQ(Split(tokens, " <l>", false), (Parts{{1, "<l>"}}));
  EXPECT_EQ(Split(tokens, "<r> ", false), (Parts{{2, "<r>"}}));
}

TEST(SpecialTokens, OfEqualTextsTheFirstCounts) {
  const SpecialTokens tokens = Make({{"<a>", Plain(1)}, {"<a>", Plain(2)}});
  EXPECT_EQ(Split(tokens, "<a>", false), (Parts{{1, "<a>"}}));
}

}  // namespace
}  // namespace bitbudget
