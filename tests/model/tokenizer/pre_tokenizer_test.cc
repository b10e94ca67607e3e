#include "runtime/model/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_level.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

using Pieces = std::vector<absl::string_view>;

Pieces Split(const std::vector<SplitStep>& steps, absl::string_view text) {
  const auto pre_tokenizer = PreTokenizer::Create(steps);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  const auto pieces = pre_tokenizer->Split(text);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  return *pieces;
}

Pieces SplitAs(const char* name, absl::string_view text) {
  return Split(FindPreTokenizer(name)->steps, text);
}

TEST(PreTokenizer, TheNamedOnesCutWhereTheirModelsDo) {
  const absl::string_view text = "I'll PAY'S 1234  now\n\n x";
  EXPECT_EQ(SplitAs("gpt-2", text),
            (Pieces{"I", "'ll", " PAY", "'", "S", " 1234", " ", " now", "\n\n", " x"}));
  EXPECT_EQ(SplitAs("llama-bpe", text),
            (Pieces{"I", "'ll", " PAY", "'S", " ", "123", "4", " ", " now", "\n\n", " x"}));
  EXPECT_EQ(SplitAs("qwen2", text),
            (Pieces{"I", "'ll", " PAY", "'S", " ", "1", "2", "3", "4", " ", " now", "\n\n", " x"}));
}

TEST(PreTokenizer, EveryBehaviorKeepsItsPromise) {
  const auto split = [](SplitBehavior behavior) { return Split({{"-", behavior}}, "-a--b-"); };
  EXPECT_EQ(split(SplitBehavior::kIsolated), (Pieces{"-", "a", "-", "-", "b", "-"}));
  EXPECT_EQ(split(SplitBehavior::kRemoved), (Pieces{"a", "b"}));
  EXPECT_EQ(split(SplitBehavior::kMergedWithPrevious), (Pieces{"-", "a-", "-", "b-"}));
  EXPECT_EQ(split(SplitBehavior::kMergedWithNext), (Pieces{"-a", "-", "-b", "-"}));
  EXPECT_EQ(Split({}, "a b"), (Pieces{"a b"}));
  EXPECT_EQ(Split({{"x"}}, ""), Pieces{});
  // Empty matches cut as well.
  EXPECT_EQ(Split({{R"((?=(\d{3})+(?!\d)))"}}, "1234567"), (Pieces{"1", "234", "567"}));
}

TEST(PreTokenizer, WhitespaceIsUnicodes) {
  EXPECT_EQ(Split({{R"(\s+)"}}, "a\u00a0\u2003b\u180ec"),
            (Pieces{"a", "\u00a0\u2003", "b\u180ec"}));
  EXPECT_EQ(Split({{R"([\s]+)"}}, "a\u3000b\u180ec"), (Pieces{"a", "\u3000", "b\u180ec"}));
  EXPECT_EQ(Split({{R"(\S+)"}}, "a\u180e\u2028b"), (Pieces{"a\u180e", "\u2028", "b"}));
  EXPECT_EQ(Split({{R"([^\s]+)"}}, "a b"), (Pieces{"a", " ", "b"}));
}

TEST(PreTokenizer, WrongExpressionsAreNamed) {
  const auto refuse = [](const std::string& expression, const std::string& part) {
    ExpectError(PreTokenizer::Create(std::vector<SplitStep>{{"a"}, {expression}}).status(),
                absl::StatusCode::kInvalidArgument,
                {"expression 1", part});
  };
  refuse("(a", "'(a'");
  refuse("[\\w&&[^_]]", "&&");
  refuse("\\C", "\\C");
}

TEST(PreTokenizer, AnExpressionThatNeverEndsIsAnError) {
  const auto pre_tokenizer = PreTokenizer::Create(std::vector<SplitStep>{{"(a+)+(a+)+(a+)+[bc]"}});
  ASSERT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  ExpectError(pre_tokenizer->Split(std::string(200, 'a')).status(),
              absl::StatusCode::kInvalidArgument,
              {"takes too many steps"});
}

TEST(PreTokenizer, NamesAreFoundByWhatTheySay) {
  for (const char* const name : {"gpt-2", "llama-bpe", "smaug-bpe", "qwen2", "tekken", "smollm"}) {
    const KnownPreTokenizer* known = FindPreTokenizer(name);
    ASSERT_NE(known, nullptr) << name;
    EXPECT_EQ(NameOfPreTokenizer(known->steps, known->ignore_merges), name);
  }
  EXPECT_EQ(FindPreTokenizer("no-such"), nullptr);
  EXPECT_EQ(NameOfPreTokenizer(std::vector<SplitStep>{{"x"}}, false), "");
  EXPECT_EQ(NameOfPreTokenizer({}, false), "");
  // The same cuts, but what is made of them has no name.
  EXPECT_EQ(NameOfPreTokenizer(FindPreTokenizer("qwen2")->steps, true), "");
}

TEST(ByteLevel, EveryByteHasACharacterOfItsOwn) {
  std::set<std::string> bytes;
  for (int character = 0; character < 0x200; ++character) {
    std::string text;
    if (character < 0x80) {
      text += static_cast<char>(character);
    } else {
      text +=
          {static_cast<char>(0xc0 | character >> 6), static_cast<char>(0x80 | (character & 63))};
    }
    const std::optional<std::string> byte = CharactersToBytes(text);
    EXPECT_EQ(byte.has_value(),
              (character > ' ' && character < 0x7f) ||
                  (character > 0xa0 && character < 0x144 && character != 0xad))
        << character;
    if (byte.has_value()) {
      EXPECT_EQ(byte->size(), 1u);
      EXPECT_TRUE(bytes.insert(*byte).second) << character;
    }
  }
  EXPECT_EQ(bytes.size(), 256u);
  EXPECT_EQ(CharactersToBytes("\u0120\u010a~\u0143"), " \n~\xad");
  EXPECT_EQ(CharactersToBytes("\u2581"), std::nullopt);
  EXPECT_EQ(CharactersToBytes(" "), std::nullopt);
  EXPECT_EQ(CharactersToBytes("\xc4"), std::nullopt);
}

TEST(ByteLevel, ByteTokensAreSpelledInHexadecimal) {
  EXPECT_EQ(ByteOfToken("<0x0A>"), 10);
  EXPECT_EQ(ByteOfToken("<0xfF>"), 255);
  for (const char* const text : {"", "<0x0A", "<0x0G>", "<0x00A>", "x0x0A>"}) {
    EXPECT_EQ(ByteOfToken(text), -1) << text;
  }
}

TEST(Utf8, EveryBrokenByteIsReplaced) {
  const std::string r = "\ufffd";
  EXPECT_EQ(ReplaceInvalidUtf8("a\u00e9\u4eca\U0001f600"), "a\u00e9\u4eca\U0001f600");
  EXPECT_EQ(ReplaceInvalidUtf8("a\x80z"), "a" + r + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xbd"), r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\x80"), r + r);                  // overlong
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(ReplaceInvalidUtf8("\xf4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(ReplaceInvalidUtf8("\xf8\x88\x80\x80x"), r + r + r + r + "x");
  EXPECT_EQ(ReplaceInvalidUtf8(absl::string_view("\0a", 2)), std::string("\0a", 2));
}

TEST(Utf8, FormCComposes) {
  EXPECT_EQ(ToNfc("cafe\u0301"), "caf\u00e9");
  EXPECT_EQ(ToNfc("\u212b"), "\u00c5");
  EXPECT_EQ(ToNfc("plain"), "plain");
  EXPECT_EQ(ToNfc(""), "");
}

}  // namespace
}  // namespace bitbudget
