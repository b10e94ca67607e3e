#include "runtime/eval/probes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/random.h"
#include "runtime/base/sha256.h"
#include "runtime/model/decoder/generate.h"
#include "tests/eval/probe_bench.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

// Prose without repetitions.
std::string Prose(int words, uint64_t seed) {
  const char* vocabulary[] = {"the",  "old",    "sea",  "was",   "grey", "and",    "captain",
                              "said", "never",  "ship", "under", "wind", "bright", "morning",
                              "she",  "walked", "to",   "house", "with", "a",      "letter"};
  Random random(seed);
  std::string text;
  for (int i = 0; i < words; ++i) {
    absl::StrAppend(
        &text, vocabulary[random.Below(std::size(vocabulary))], random.Below(9) == 0 ? ".\n" : " ");
  }
  return text;
}

// Prefixes long enough that no two windows of prose share one.
constexpr int64_t kPrefix = 24;
constexpr int64_t kCompletion = 8;
constexpr int64_t kWindow = kPrefix + kCompletion - 1;  // without the beginning of sequence

ProbeOptions FileOptions(ProbeSource source, const std::string& path) {
  ProbeOptions options;
  options.source = source;
  options.path = path;
  options.prefix_tokens = kPrefix;
  options.completion_tokens = kCompletion;
  return options;
}

// Whatever the seed and the number asked for, one item belongs to one role.
void ExpectRolesAreDisjoint(const ProbeBench& bench, ProbeOptions options) {
  std::map<Tokens, ProbeRole> role_of;
  for (const uint64_t seed : {0, 1, 99}) {
    options.seed = seed;
    const auto maker = bench.Make(options);
    for (const ProbeRole role : kRoles) {
      for (const int64_t count : {1, 7, 100000}) {
        std::vector<Tokens> items = bench.Prompts(*maker, role, count);
        ASSERT_FALSE(items.empty());
        EXPECT_LE(static_cast<int64_t>(items.size()), count);
        EXPECT_EQ(std::set<Tokens>(items.begin(), items.end()).size(), items.size());
        for (const Tokens& item : items) {
          EXPECT_EQ(role_of.emplace(item, role).first->second, role);
        }
      }
    }
  }
}

TEST(TextProbes, RolesShareNoWindow) {
  const TempDir dir;
  WriteTestFile(dir.File("text"), Prose(6000, 1));
  const ProbeBench bench(kNovel);
  ProbeOptions options = FileOptions(ProbeSource::kText, dir.File("text"));
  ExpectRolesAreDisjoint(bench, options);

  // Together the roles' windows are the text, cut once; one, three and four parts of eight.
  const auto maker = bench.Make(options);
  std::multiset<Tokens> dealt;
  size_t sizes[3];
  for (int role = 0; role < 3; ++role) {
    const auto windows = maker->TextWindows(kRoles[role], 100000);
    sizes[role] = windows.size();
    dealt.insert(windows.begin(), windows.end());
    // A window's prefix is the prompt.
    const auto prompts = bench.Prompts(*maker, kRoles[role], 100000);
    ASSERT_EQ(prompts.size(), windows.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(prompts[i], Tokens(windows[i].begin(), windows[i].begin() + kPrefix));
    }
  }
  const Tokens all = *bench.model->tokenizer()->Encode(ReadTestFile(dir.File("text")));
  std::multiset<Tokens> cut;
  for (size_t start = 0; start + kWindow <= all.size(); start += kWindow) {
    Tokens window = {1};
    window.insert(window.end(), all.begin() + start, all.begin() + start + kWindow);
    cut.insert(window);
  }
  EXPECT_EQ(dealt, cut);
  EXPECT_EQ(sizes[0], (cut.size() + 7) / 8);
  EXPECT_NEAR(static_cast<double>(sizes[1]) / static_cast<double>(sizes[0]), 3, 0.3);
  EXPECT_NEAR(static_cast<double>(sizes[2]) / static_cast<double>(sizes[0]), 4, 0.3);
}

TEST(TextProbes, TheSeedChoosesAndIsReproducible) {
  const TempDir dir;
  WriteTestFile(dir.File("text"), Prose(6000, 1));
  const ProbeBench bench(kNovel);
  ProbeOptions options = FileOptions(ProbeSource::kText, dir.File("text"));
  const auto first = bench.Prompts(options, ProbeRole::kSearch, 10);
  EXPECT_EQ(first.size(), 10u);
  EXPECT_EQ(bench.Prompts(options, ProbeRole::kSearch, 10), first);
  options.seed = 1;
  EXPECT_NE(bench.Prompts(options, ProbeRole::kSearch, 10), first);
}

TEST(TextProbes, RepeatedWindowsAreDropped) {
  const TempDir dir;
  const std::string prose = Prose(2000, 2);
  const ProbeBench bench(kNovel);
  // Behind itself once more, cut at the same places: pad the first copy to whole windows.
  ProbeOptions options = FileOptions(ProbeSource::kText, dir.File("text"));
  const Tokens once = *bench.model->tokenizer()->Encode(prose);
  std::string text;
  for (int copy = 0; copy < 2; ++copy) {
    text +=
        bench.model->tokenizer()->Decode(std::span(once).first(once.size() / kWindow * kWindow)) +
        "\n";
  }
  WriteTestFile(dir.File("text"), text);
  const Tokens twice = *bench.model->tokenizer()->Encode(text);
  std::multiset<Tokens> cut;
  for (size_t start = 0; start + kWindow <= twice.size(); start += kWindow) {
    cut.emplace(twice.begin() + start, twice.begin() + start + kPrefix - 1);  // the prefixes
  }
  std::set<Tokens> distinct(cut.begin(), cut.end());
  size_t dealt = 0;
  for (const ProbeRole role : kRoles) {
    for (const Tokens& prompt : bench.Prompts(options, role, 100000)) {
      EXPECT_EQ(distinct.erase(Tokens(prompt.begin() + 1, prompt.end())), 1u);
      ++dealt;
    }
  }
  EXPECT_TRUE(distinct.empty());

  // Nothing but repetitions.
  text.clear();
  for (int i = 0; i < 2000; ++i) text += "sea ";
  WriteTestFile(dir.File("text"), text);
  ExpectError(bench.TryPrompts(*bench.Make(options), ProbeRole::kHeldOut, 5).status(),
              absl::StatusCode::kInvalidArgument,
              {dir.File("text"), "too short", "windows of 32 tokens", "held-out", "at least 8"});
}

TEST(TextProbes, RefusesWhatGivesNone) {
  const TempDir dir;
  const ProbeBench bench(kNovel);
  ProbeOptions options = FileOptions(ProbeSource::kText, dir.File("none"));
  ExpectError(bench.Refusal(options), absl::StatusCode::kNotFound, {dir.File("none")});
  options.path = dir.File("text");
  for (const int words : {0, 20}) {
    const std::string text = Prose(words, 1);
    WriteTestFile(options.path, text);
    const int64_t windows =
        static_cast<int64_t>(bench.model->tokenizer()->Encode(text)->size()) / kWindow;
    ASSERT_LE(windows, 2);
    ExpectError(bench.TryPrompts(*bench.Make(options), ProbeRole::kHeldOut, 5).status(),
                absl::StatusCode::kInvalidArgument,
                {options.path, "too short", absl::StrCat("it has ", windows, " "), "held-out"});
  }
  for (const ProbeSource source : {ProbeSource::kText, ProbeSource::kPrompts}) {
    const ProbeBench mute = TinyProbeBench();
    options.source = source;
    ExpectError(mute.Refusal(options),
                absl::StatusCode::kInvalidArgument,
                {mute.model->path(), "tokenizer.model"});
  }
}

TEST(PromptProbes, RolesShareNoLine) {
  const TempDir dir;
  std::string lines;
  for (int i = 0; i < 60; ++i) {
    absl::StrAppend(&lines, "line ", i % 40, " of the ship\r\n", i % 7 == 0 ? " \t\n" : "");
  }
  WriteTestFile(dir.File("prompts"), lines);
  const ProbeBench bench(kNovel);
  const ProbeOptions options = FileOptions(ProbeSource::kPrompts, dir.File("prompts"));
  ExpectRolesAreDisjoint(bench, options);
  // 40 distinct lines, each with the beginning of sequence and whole.
  std::set<Tokens> expected;
  for (int i = 0; i < 40; ++i) {
    Tokens tokens = {1};
    const Tokens text = *bench.model->tokenizer()->Encode(absl::StrCat("line ", i, " of the ship"));
    tokens.insert(tokens.end(), text.begin(), text.end());
    expected.insert(tokens);
  }
  ASSERT_EQ(expected.size(), 40u);
  std::set<Tokens> got;
  for (const ProbeRole role : kRoles) {
    for (const Tokens& prompt : bench.Prompts(options, role, 1000)) got.insert(prompt);
  }
  EXPECT_EQ(got, expected);
  const auto maker = bench.Make(options);
  size_t longest = 0;
  for (const Tokens& prompt : expected) longest = std::max(longest, prompt.size());
  EXPECT_EQ(maker->context(), static_cast<int64_t>(longest) + kCompletion);
  EXPECT_EQ(maker->window_tokens(), maker->context()) << "prompts are shorter than a prefix";
  EXPECT_TRUE(maker->TextWindows(ProbeRole::kHeldOut, 10).empty());
  EXPECT_EQ(maker->fingerprint(), Sha256Hex(std::as_bytes(std::span(lines))));
}

TEST(PromptProbes, ALineTooLongForTheContextIsNamed) {
  const TempDir dir;
  const std::string path = dir.File("prompts");
  const ProbeBench bench(kNovel);  // 256 positions
  ProbeOptions options = FileOptions(ProbeSource::kPrompts, path);
  // The longest line of words that leaves room for the completion, and one word more.
  const auto tokens = [&](const std::string& line) {
    return 1 + static_cast<int64_t>(bench.model->tokenizer()->Encode(line)->size());
  };
  std::string line = "sea";
  while (tokens(line + " sea") <= 256 - kCompletion) line += " sea";
  WriteTestFile(path, absl::StrCat("first line\n\n", line, "\n", line, " sea\n"));
  ExpectError(bench.Refusal(options),
              absl::StatusCode::kInvalidArgument,
              {absl::StrCat(path, ":4"),
               absl::StrCat(tokens(line + " sea"), " tokens"),
               "room for 248",
               "8 completion tokens"});
  WriteTestFile(path, absl::StrCat("first line\n\n", line, "\n"));
  EXPECT_TRUE(bench.Refusal(options).ok());
}

TEST(ProbeLengths, ShrinkInProportionToAShortContext) {
  struct Case {
    int64_t positions, prefix, completion, expected_prefix, expected_completion;
  };
  const int64_t huge = int64_t{1} << 62;
  for (const Case& c : {Case{300, 100, 100, 100, 100},
                        Case{200, 100, 100, 100, 100},
                        Case{199, 100, 100, 99, 100},
                        Case{128, 100, 100, 64, 64},
                        Case{128, 150, 50, 96, 32},
                        Case{128, 2, 126, 2, 126},
                        Case{9, 100, 200, 3, 6},
                        Case{128, huge, 1, 127, 1},
                        Case{128, huge, huge, 64, 64}}) {
    SCOPED_TRACE(absl::StrCat(c.positions, " ", c.prefix, " ", c.completion));
    TinyModelOptions model_options;
    model_options.max_positions = c.positions;
    const ProbeBench bench = TinyProbeBench(model_options);
    ProbeOptions options;
    options.prefix_tokens = c.prefix;
    options.completion_tokens = c.completion;
    const auto maker = bench.Make(options);
    EXPECT_EQ(maker->prefix_tokens(), c.expected_prefix);
    EXPECT_EQ(maker->completion_tokens(), c.expected_completion);
    EXPECT_EQ(maker->context(), c.expected_prefix + c.expected_completion);
    EXPECT_EQ(maker->window_tokens(), maker->context());
  }
  TinyModelOptions model_options;
  model_options.max_positions = 1;
  ExpectError(TinyProbeBench(model_options).Refusal({}),
              absl::StatusCode::kInvalidArgument,
              {"config.json", "max_position_embeddings is 1"});
}

TEST(ProbeLengths, MustBePositive) {
  const ProbeBench bench = TinyProbeBench();
  ProbeOptions options;
  options.prefix_tokens = 0;
  ExpectError(bench.Refusal(options), absl::StatusCode::kInvalidArgument, {"not 0 and 100"});
  options.prefix_tokens = 10;
  options.completion_tokens = -3;
  ExpectError(bench.Refusal(options), absl::StatusCode::kInvalidArgument, {"not 10 and -3"});
}

TEST(ProbeLengths, PositionsBeyondTheShortRopeFactorsAreRefused) {
  TinyModelOptions model_options;
  model_options.architecture = Architecture::kPhi3;  // 64 of 128 positions are original
  model_options.rope_scaling = R"({"type": "longrope", "short_factor": [1, 1, 1, 1],
                                   "long_factor": [2, 2, 2, 2]})";
  model_options.vocab = 1024;
  const TinyModel tiny(model_options);
  WriteTestFile(tiny.path() + "/tokenizer.model", ReadTestFile(kNovel + "/tokenizer.model"));
  WriteTestFile(tiny.path() + "/text", Prose(6000, 1));
  const ProbeBench bench(tiny.path());
  ProbeOptions options;
  for (const ProbeSource source :
       {ProbeSource::kModel, ProbeSource::kText, ProbeSource::kPrompts}) {
    SCOPED_TRACE(ProbeSourceName(source));
    options.source = source;
    options.path = tiny.path() + "/text";
    options.prefix_tokens = 32;
    options.completion_tokens = 33;
    if (source == ProbeSource::kPrompts) {  // which keep their own length
      WriteTestFile(options.path, "one line\nand another");
      options.completion_tokens = 64;
    }
    ExpectError(bench.Refusal(options),
                absl::StatusCode::kUnimplemented,
                {tiny.path() + "/config.json", "original_max_position_embeddings: 64"});
    options.completion_tokens = 32;
    EXPECT_TRUE(bench.Refusal(options).ok()) << bench.Refusal(options);
  }
}

}  // namespace
}  // namespace bitbudget
