#include "runtime/base/regex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr RegexDialect kNameDialects[] = {RegexDialect::kPython, RegexDialect::kEcmaScript};

Regex Compiled(absl::string_view pattern, RegexDialect dialect) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern, dialect);
  EXPECT_TRUE(regex.ok()) << regex.status();
  return *std::move(regex);
}

bool Matches(absl::string_view pattern,
             absl::string_view text,
             RegexDialect dialect,
             Regex::Where where = Regex::Where::kAnywhere) {
  const absl::StatusOr<bool> matches = Compiled(pattern, dialect).Matches(text, where);
  EXPECT_TRUE(matches.ok()) << matches.status();
  return matches.ok() && *matches;
}

void Refused(const std::string& pattern, RegexDialect dialect, const std::string& why) {
  ExpectError(Regex::Compile(pattern, dialect).status(),
              absl::StatusCode::kInvalidArgument,
              {"'" + pattern + "' is not a regular expression", why});
}

TEST(Regex, NamesMatchAnywhereAtTheStartOrAsAWhole) {
  for (const RegexDialect dialect : kNameDialects) {
    const auto matches = [&](absl::string_view pattern, Regex::Where where) {
      return Matches(pattern, "layers.10.down_proj", dialect, where);
    };
    EXPECT_TRUE(matches("down", Regex::Where::kAnywhere));
    EXPECT_FALSE(matches("up", Regex::Where::kAnywhere));
    EXPECT_FALSE(matches("down", Regex::Where::kAtStart));
    EXPECT_TRUE(matches("layers", Regex::Where::kAtStart));
    EXPECT_FALSE(matches("layers", Regex::Where::kWhole));
    // The whole is matched where an earlier alternative would stop before the end.
    EXPECT_TRUE(matches("layers|layers.*", Regex::Where::kWhole));
    EXPECT_TRUE(matches(R"(\.\d{1,2}\.[^.]*proj$)", Regex::Where::kAnywhere));
    EXPECT_TRUE(matches(R"((?:layers)\.1[0-5]\.(up|down)_)", Regex::Where::kAtStart));
    EXPECT_FALSE(matches(R"(layers\.(?!1)\w+)", Regex::Where::kAnywhere));
    EXPECT_TRUE(matches("", Regex::Where::kAnywhere));
  }
}

TEST(Regex, ACatastrophicPatternEndsWithinASecond) {
  const std::string name = "model.layers.11.self_attn.q_proj.weight";
  for (const RegexDialect dialect : kNameDialects) {
    for (const char* const pattern :
         {"(.*)*(.*)*x$", "(([a-z.]*)*)*!", "(a?){60}(.*.*)*(.+)+!", "(.|.)*!"}) {
      const auto start = std::chrono::steady_clock::now();
      const absl::StatusOr<bool> matches =
          Compiled(pattern, dialect).Matches(name, Regex::Where::kAnywhere);
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << pattern;
      ExpectError(matches.status(),
                  absl::StatusCode::kInvalidArgument,
                  {"'" + std::string(pattern) + "' takes more than 200000 steps"});
    }
  }
  std::vector<Regex::Match> found;
  ExpectError(Compiled("(a+)+(a+)+(a+)+[bc]", RegexDialect::kTokenizer)
                  .FindAll(std::string(200, 'a'), &found),
              absl::StatusCode::kInvalidArgument,
              {"'(a+)+(a+)+(a+)+[bc]' takes more than"});
}

TEST(Regex, LongTextsAreWithinTheLimits) {
  const std::string text = std::string(200'000, 'a') + "b";
  std::vector<Regex::Match> found;
  ASSERT_TRUE(Compiled("(?:a|c)+", RegexDialect::kTokenizer).FindAll(text, &found).ok());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].end, text.size() - 1);
}

TEST(Regex, WrongPatternsAreNamed) {
  for (const RegexDialect dialect : kNameDialects) {
    Refused("(", dialect, "parenthes");
    Refused("a)", dialect, "parenthes");
    Refused("[a", dialect, "missing terminating ]");
    Refused("[z-a]", dialect, "range out of order");
    Refused("*a", dialect, "nothing to repeat (at byte 0)");
    Refused("a{2,1}", dialect, "out of order");
    Refused("a\\", dialect, "backslash");
    Refused("caf\xc3\xa9", dialect, "ASCII");
    Refused("((ab){1000}){1000}", dialect, "too large");
    EXPECT_FALSE(Regex::Compile(std::string(5000, '('), dialect).ok());
    EXPECT_FALSE(Regex::Compile(std::string(3000, '('), dialect).ok());
    EXPECT_FALSE(Regex::Compile(absl::string_view("a\0b", 3), dialect).ok());
  }
  Refused("(a", RegexDialect::kTokenizer, "parenthesis");
  Refused("\\C", RegexDialect::kTokenizer, "\\C");
  const absl::Status status =
      Regex::Compile("(\n" + std::string(100000, 'x'), RegexDialect::kTokenizer).status();
  ExpectError(status, absl::StatusCode::kInvalidArgument, {"'(\\x0a", "...'", "at most"});
  EXPECT_LT(status.message().size(), 250u);
}

// What the two dialects for names share, and where PCRE2 would read something else.
TEST(Regex, ConstructsOfPcre2AloneAreRefused) {
  for (const RegexDialect dialect : kNameDialects) {
    for (const char* const pattern :
         {"\\Qa\\E", "\\K",     "\\h",     "\\R",     "\\p{L}",      "\\z",       "\\v",
          "\\0",     "\\10",    "\\cA",    "\\x{41}", "\\x4",        "\\g{1}",    "\\k<a>",
          "\\u0041", "(*UTF)a", "(?R)",    "(?|a|b)", "(?1)",        "(?(1)a|b)", "(?&a)",
          "(?C1)",   "(?P>a)",  "(?U)a*",  "a{,3}",   "[[:<:]]",     "^*",        "\\b+",
          "(?=a)*",  "a**",     "[[.a.]]", "[\\Q]",   "[[:^alpha:]]"}) {
      EXPECT_FALSE(Regex::Compile(pattern, dialect).ok()) << pattern;
    }
  }
}

TEST(Regex, PythonHasWhatEcmaScriptHasNot) {
  for (const char* const pattern : {R"((a)\1)",
                                    "(?<=a)b",
                                    "(?<!a)b",
                                    "(?P<n>a)",
                                    "(?i)A",
                                    "(?i:A)",
                                    "(?>a)",
                                    "a++",
                                    "a{2}+",
                                    "\\Aa\\Z",
                                    "a{",
                                    "(?#x)a"}) {
    EXPECT_TRUE(Regex::Compile(pattern, RegexDialect::kPython).ok()) << pattern;
    EXPECT_FALSE(Regex::Compile(pattern, RegexDialect::kEcmaScript).ok()) << pattern;
  }
  EXPECT_TRUE(Matches(R"((a)\1)", "xaa", RegexDialect::kPython));
  EXPECT_TRUE(Matches("(?i)LAYERS", "layers", RegexDialect::kPython));
  EXPECT_FALSE(Matches("a++a", "aaa", RegexDialect::kPython));
}

TEST(Regex, EachDialectReadsBracketsItsOwnWay) {
  EXPECT_TRUE(Matches("[]a]", "]", RegexDialect::kPython, Regex::Where::kWhole));
  EXPECT_FALSE(Matches("[]a]", "]a]", RegexDialect::kEcmaScript));
  EXPECT_TRUE(Matches("[^]a]", "xa]", RegexDialect::kEcmaScript, Regex::Where::kWhole));
  EXPECT_TRUE(Matches("[[:digit:]_]+", "1_2", RegexDialect::kEcmaScript, Regex::Where::kWhole));
  EXPECT_FALSE(Regex::Compile("[[:digit:]]", RegexDialect::kPython).ok());
  for (const RegexDialect dialect : kNameDialects) {
    EXPECT_TRUE(Matches("[a-c-]+", "a-b", dialect, Regex::Where::kWhole));
    EXPECT_TRUE(Matches("[-a]+", "a-", dialect, Regex::Where::kWhole));
    EXPECT_TRUE(Matches(R"([\d.]+)", "1.5", dialect, Regex::Where::kWhole));
    EXPECT_TRUE(Matches(R"([\]\\]+)", "]\\", dialect, Regex::Where::kWhole));
    EXPECT_FALSE(Regex::Compile(R"([\d-z])", dialect).ok());
    EXPECT_FALSE(Regex::Compile(R"([a-\d])", dialect).ok());
  }
}

TEST(Regex, TokenizersReadUnicode) {
  const auto count = [](absl::string_view pattern, absl::string_view text) {
    std::vector<Regex::Match> found;
    EXPECT_TRUE(Compiled(pattern, RegexDialect::kTokenizer).FindAll(text, &found).ok());
    return found.size();
  };
  EXPECT_EQ(count(R"(\w)", "\u00e9\u4eca!"), 2u);
  EXPECT_EQ(count(R"(\p{L}+)", "caf\u00e9 \u4eca"), 2u);
  EXPECT_EQ(count("^.", "a\nb"), 2u);
  EXPECT_EQ(count(R"(\s)", "\u2003\u180e"), 1u);
  EXPECT_EQ(count("", "\u00e9\u4eca"), 3u);  // between all characters, never inside one
  EXPECT_FALSE(Regex::Compile("[\\w&&[^_]]", RegexDialect::kTokenizer).ok());
  EXPECT_FALSE(Regex::Compile("(*UTF)a", RegexDialect::kTokenizer).ok());
}

TEST(Regex, CopiesMatchLikeTheOriginal) {
  for (const RegexDialect dialect : {RegexDialect::kTokenizer, RegexDialect::kPython}) {
    auto original = std::make_unique<Regex>(Compiled("a+$", dialect));
    Regex copy = *original;
    Regex assigned = Compiled("x", dialect);
    assigned = *original;
    original.reset();
    for (const Regex* regex : {&copy, &assigned}) {
      EXPECT_EQ(regex->pattern(), "a+$");
      EXPECT_TRUE(*regex->Matches("baa", Regex::Where::kAnywhere));
      EXPECT_FALSE(*regex->Matches("aab", Regex::Where::kAnywhere));
    }
  }
}

}  // namespace
}  // namespace bitbudget
