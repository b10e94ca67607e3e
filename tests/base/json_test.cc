#include "runtime/base/json.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Both forms of the reader refuse the same texts in the same words.
void Refused(const std::string& text, const std::string& why) {
  ExpectError(ParseJson(text, "a.json").status(), kInvalid, {"a.json: bad JSON", why});
  EXPECT_EQ(ParseOrderedJson(text, "a.json", DuplicateKeys::kRefuse).status(),
            ParseJson(text, "a.json").status());
}

TEST(ParseJson, ReadsEveryKindOfValue) {
  const std::string text =
      R"({"s": "\u00e9\n", "i": -3, "u": 18446744073709551615, "f": 2.5, "t": true, "n": null,)"
      R"( "a": [1, [2], {}], "o": {"x": {"y": []}}})";
  const auto plain = ParseJson(text, "a.json");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(*plain, json::parse(text));
  for (const DuplicateKeys duplicates : {DuplicateKeys::kRefuse, DuplicateKeys::kLastWins}) {
    const auto ordered = ParseOrderedJson(text, "a.json", duplicates);
    ASSERT_TRUE(ordered.ok()) << ordered.status();
    EXPECT_EQ(ordered->dump(), ordered_json::parse(text).dump());
  }
}

TEST(ParseJson, DuplicateKeysAreRefusedUnlessTheLastOneWins) {
  Refused(R"({"a": 1, "b": {"k": 1, "k": 2}})", "duplicate key \"k\"");
  EXPECT_TRUE(ParseJson(R"({"a": {"k": 1}, "b": {"k": 2}})", "a.json").ok());
  // As in Python: the last value, in the first one's place.
  const auto ordered = ParseOrderedJson(
      R"({"z": 1, "a": {"k": 1, "j": 2, "k": [3]}, "z": 4})", "a.json", DuplicateKeys::kLastWins);
  ASSERT_TRUE(ordered.ok()) << ordered.status();
  EXPECT_EQ(ordered->dump(), R"({"z":4,"a":{"k":[3],"j":2}})");
}

TEST(ParseJson, NamesTheByteOfBadGrammar) {
  Refused("", "at byte");
  Refused(R"({"a": 1,})", "at byte 9");
  Refused("{} x", "at byte 4");
  Refused("[1", "at byte");
  Refused("{\"a\xff\": 1}", "UTF-8");
  Refused(std::string("[\"\0\"]", 5), "at byte 2: a zero byte");
  Refused("[1e999]", "number overflow");
  Refused("[NaN]", "at byte");
  Refused("// a comment\n1", "at byte");
}

TEST(ParseJson, DepthIsBounded) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ParseJson(nested(32), "a.json").ok());
  Refused(nested(33), "nested deeper than 32 levels");
  Refused(std::string(1'000'000, '['), "nested deeper than 32 levels");
}

TEST(ParseJson, SizeIsBounded) {
  std::string text = "[0";
  for (int i = 0; i < 10'000'000; ++i) text += ",0";
  ExpectError(ParseJson(text + "]", "a.json").status(), kInvalid, {"more than 10000000 values"});
}

TEST(ParseJson, ManyKeysOfAnOrderedObjectTakeLinearTime) {
  std::string text = "{\"k\": 0";
  for (int i = 0; i < 300'000; ++i) absl::StrAppend(&text, ",\"", i, "\":0");
  const auto ordered = ParseOrderedJson(text + "}", "a.json", DuplicateKeys::kLastWins);
  ASSERT_TRUE(ordered.ok()) << ordered.status();
  EXPECT_EQ(ordered->size(), 300'001u);
}

TEST(Quoted, StaysOneShortLine) {
  EXPECT_EQ(Quoted("a\nb\"c"), R"("a\nb\"c")");
  EXPECT_EQ(Quoted("caf\u00e9"), "\"caf\u00e9\"");
  const std::string long_text = Quoted(std::string(79, 'x') + "\u00e9" + std::string(1000, 'y'));
  EXPECT_EQ(long_text, "\"" + std::string(79, 'x') + "...\"");  // no half character
  EXPECT_EQ(ValueText(json("a\tb")), R"("a\tb")");
  EXPECT_EQ(ValueText(json{{"a", {1, 2}}}), R"({"a":[1,2]})");
  EXPECT_LT(ValueText(json(std::vector<int>(1000, 1))).size(), 100u);
}

}  // namespace
}  // namespace bitbudget
