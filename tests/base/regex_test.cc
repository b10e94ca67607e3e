#include "runtime/base/regex.h"

#include <gtest/gtest.h>

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

absl::StatusOr<std::vector<std::string>> Found(absl::string_view pattern, const std::string& text) {
  std::vector<Regex::Match> matches;
  int64_t steps = Regex::StepsFor(text);
  const absl::Status status =
      Compiled(pattern, RegexDialect::kTokenizer).FindAll(text, &steps, &matches);
  if (!status.ok()) return status;
  std::vector<std::string> found;
  for (const Regex::Match& match : matches) {
    found.push_back(text.substr(match.begin, match.end - match.begin));
  }
  return found;
}

std::vector<std::string> Pieces(absl::string_view pattern, const std::string& text) {
  const absl::StatusOr<std::vector<std::string>> found = Found(pattern, text);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? *found : std::vector<std::string>();
}

using Strings = std::vector<std::string>;

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

TEST(Regex, ACatastrophicPatternIsGivenUp) {
  const std::string name = "model.layers.11.self_attn.q_proj.weight";
  for (const RegexDialect dialect : kNameDialects) {
    for (const char* const pattern :
         {"(.*)*(.*)*x$", "(([a-z.]*)*)*!", "(a?){60}(.*.*)*(.+)+!", "(.|.)*!"}) {
      const absl::StatusOr<bool> matches =
          Compiled(pattern, dialect).Matches(name, Regex::Where::kAnywhere);
      ExpectError(matches.status(),
                  absl::StatusCode::kInvalidArgument,
                  {"'" + std::string(pattern) + "' takes too many steps on a text of 39 bytes"});
    }
  }
}

// Each match of some of these is cheap; it is the whole text that is dear.
TEST(Regex, ALongTextIsGivenUpForAnyPattern) {
  const std::string text(300'000, 'a');
  for (const char* const pattern : {"(a+)+(a+)+(a+)+[bc]",
                                    "(?:a?){16}a{16}b|a",
                                    "a++b",
                                    "(?=a*b)|a",
                                    "(?>a*)b|a",
                                    "(?:a|a)*b|a",
                                    "a(?<=a{3000})b|a"}) {
    ExpectError(Found(pattern, text).status(),
                absl::StatusCode::kInvalidArgument,
                {"'" + std::string(pattern) + "' takes too many steps", "300000 bytes", "nested"});
  }
  ExpectError(Found("(?:a|b)+c", std::string(10'000'000, 'a')).status(),
              absl::StatusCode::kInvalidArgument,
              {"too much memory"});
}

TEST(Regex, RepetitionsOfNothingEnd) {
  for (const char* const pattern :
       {"(a*)*b", "(?:a|b?|)*?c$", "(?:(?:a?)*)*c|b", "(|a)+", "(?:(?=a)|b*)*c"}) {
    EXPECT_TRUE(Found(pattern, "aabac").ok()) << pattern;
  }
  EXPECT_EQ(Pieces("(?:a*)*b", "aabac"), Strings{"aab"});
  EXPECT_EQ(Pieces("(?:(?:a?)*x?)*c", "aabaxac"), Strings{"axac"});
}

TEST(Regex, StepsAreCountedOverAllTexts) {
  const Regex regex = Compiled("a", RegexDialect::kTokenizer);
  std::vector<Regex::Match> found;
  int64_t steps = 8;
  EXPECT_TRUE(regex.FindAll("a", &steps, &found).ok());
  EXPECT_FALSE(regex.FindAll("b", &steps, &found).ok() &&
               regex.FindAll("bbbb", &steps, &found).ok());
  EXPECT_EQ(found.size(), 1u);
}

TEST(Regex, LongTextsAreWithinTheLimits) {
  const std::string run(200'000, 'a');
  EXPECT_EQ(Pieces("(?:a|c)+", run + "b"), Strings{run});
  // As far as llama-bpe's expression looks before it takes a run of spaces.
  const std::string spaces(3'000'000, ' ');
  EXPECT_EQ(Pieces(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces), Strings{spaces});
}

TEST(Regex, WrongPatternsAreNamed) {
  for (const RegexDialect dialect : kNameDialects) {
    Refused("(", dialect, "no closing parenthesis");
    Refused("(?", dialect, "group");
    Refused("a)", dialect, "parenthes");
    Refused("[a", dialect, "without its closing ]");
    Refused("[z-a]", dialect, "range out of order (at byte 1)");
    Refused("*a", dialect, "nothing to repeat (at byte 0)");
    Refused("a{2,1}", dialect, "out of order");
    Refused("a\\", dialect, "backslash");
    Refused("caf\xc3\xa9", dialect, "ASCII");
    Refused("((ab){1000}){1000}", dialect, "too large");
    Refused("a{65536}", dialect, "more than 65535");
    EXPECT_TRUE(Regex::Compile("((|(){60000}){60000}){0}", dialect).ok());
    EXPECT_FALSE(Regex::Compile(std::string(5000, '('), dialect).ok());
    EXPECT_FALSE(Regex::Compile(std::string(3000, '('), dialect).ok());
    EXPECT_FALSE(Regex::Compile(absl::string_view("a\0b", 3), dialect).ok());
  }
  Refused("(a", RegexDialect::kTokenizer, "parenthesis");
  Refused("\\p{Nonsense}", RegexDialect::kTokenizer, "property");
  const absl::Status status =
      Regex::Compile("(\n" + std::string(100000, 'x'), RegexDialect::kTokenizer).status();
  ExpectError(status, absl::StatusCode::kInvalidArgument, {"'(\\x0a", "...'", "at most"});
  EXPECT_LT(status.message().size(), 250u);
}

// What the two dialects for names share, and where PCRE2 would read something else.
TEST(Regex, ConstructsOfPcre2AloneAreRefused) {
  for (const RegexDialect dialect : kNameDialects) {
    for (const char* const pattern :
         {"\\Qa\\E", "\\K",     "\\h",     "\\R",     "\\p{L}",  "\\z",         "\\v",
          "(a)\\1",  "\\0",     "\\10",    "\\cA",    "\\x{41}", "\\x4",        "\\g{1}",
          "\\k<a>",  "\\u0041", "(*UTF)a", "(?R)",    "(?|a|b)", "(?1)",        "(?(1)a|b)",
          "(?&a)",   "(?C1)",   "(?P>a)",  "(?U)a*",  "a{,3}",   "[[:<:]]",     "^*",
          "\\b+",    "(?=a)*",  "a**",     "[[.a.]]", "[\\Q]",   "[[:^alpha:]]"}) {
      EXPECT_FALSE(Regex::Compile(pattern, dialect).ok()) << pattern;
    }
  }
}

TEST(Regex, PythonHasWhatEcmaScriptHasNot) {
  for (const char* const pattern : {"(?<=a)b",
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
  EXPECT_TRUE(Matches("(?<=la)ye", "layers", RegexDialect::kPython));
  EXPECT_FALSE(Matches("(?<!la)ye", "layers", RegexDialect::kPython));
  EXPECT_FALSE(Regex::Compile("(?<=a|bc)d", RegexDialect::kPython).ok());
  EXPECT_FALSE(Regex::Compile("a(?i)b", RegexDialect::kPython).ok());
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
    return Pieces(pattern, std::string(text)).size();
  };
  EXPECT_EQ(count(R"(\w)", "\u00e9\u4eca!"), 2u);
  EXPECT_EQ(count(R"(\p{L}+)", "caf\u00e9 \u4eca"), 2u);
  EXPECT_EQ(count("^.", "a\nb"), 2u);
  EXPECT_EQ(count(R"(\s)", "\u2003\u180e"), 1u);
  EXPECT_EQ(count("", "\u00e9\u4eca"), 3u);  // between all characters, never inside one
  // Halves of pairs, the last character, and those that no PCRE2 property lists.
  EXPECT_EQ(count("[^a]", "\ud7ff\ue000\uffff\U0010ffff"), 4u);
  EXPECT_EQ(count(R"([\x{4e00}-\u9fa5])", "\u4dff\u4e00\u9fa5\u9fa6"), 2u);
  EXPECT_EQ(count("(?i:'S)", "'s 'S '\u017f"), 3u);
}

TEST(Regex, ExpressionsOfKnownModelsCutTextTheirWay) {
  EXPECT_EQ(
      Pieces(
          R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
          R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
          "It's 12345 caf\u00e9s,\n  ok  "),
      (Strings{"It", "'s", " ", "123", "45", " caf\u00e9s", ",\n", " ", " ok", "  "}));
  // BLOOM's has a class in a class.
  EXPECT_EQ(Pieces(R"( ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+)", "a (b), c"),
            (Strings{"a", "b", " c"}));
  EXPECT_EQ(Pieces(R"([\p{P}\$\+<=>\^~\|`]+)", "a+b==c|d"), (Strings{"+", "==", "|"}));
  EXPECT_EQ(Pieces(R"((?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+)", "ab c de"), (Strings{"ab c de"}));
  EXPECT_EQ(Pieces("(?<=\\d|ab)c|(?<!d)x$", "1c abc bc x\ndx"), (Strings{"c", "c", "x"}));
  EXPECT_EQ(Pieces("(?<word>a+?)b", "aab"), (Strings{"aab"}));
}

TEST(Regex, TokenizersAreRefusedWhatCanTakeForEver) {
  const auto refused = [](const char* pattern, const char* why) {
    Refused(pattern, RegexDialect::kTokenizer, why);
  };
  refused("a\\Kb", "\\K is not supported");
  refused("(?(DEFINE)(?<x>a))b", "conditions");
  refused("(a(?1)?b)*", "calls of a group");
  refused("(?R)", "calls of a group");
  refused("(?&x)", "calls of a group");
  refused("(?P>x)", "calls of a group");
  refused("(a)\\1", "references to groups");
  refused("(?<x>a)\\k<x>", "references to groups");
  refused("(?C1)a", "callouts");
  refused("a(*SKIP)b", "verbs");
  refused("(?|(a)|(b))", "this kind of group");
  refused("\\Qa\\E", "\\Q is not supported");
  refused("\\C", "\\C is not supported");
  refused("(?<=a+)b", "fixed width");
  refused("[\\w&&[^_]]", "intersections");
  refused("[a[^b]]", "[^...] in a class");
  refused("[[:alpha:]]", "[: [. and [=");
  refused("a(?i)b", "this kind of group");
  refused("(?s).", "this kind of group");
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
