// Probes sampled from the model itself.
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

TEST(ModelProbes, RolesShareNoFirstToken) {
  // 64 tokens beside the beginning of sequence: the roles have 22, 21 and 21, and are asked for
  // more.
  TinyModelOptions model_options;
  model_options.vocab = 65;
  const ProbeBench bench = TinyProbeBench(model_options);
  for (const int64_t prefix : {2, 4, 12}) {
    for (const uint64_t seed : {0, 1, 99}) {
      ProbeOptions options;
      options.prefix_tokens = prefix;
      options.completion_tokens = 5;
      options.seed = seed;
      const auto maker = bench.Make(options);
      std::map<int32_t, ProbeRole> role_of;
      for (const ProbeRole role : kRoles) {
        for (const int64_t count : {1, 20, 50}) {
          const auto prompts = bench.Prompts(*maker, role, count);
          ASSERT_EQ(static_cast<int64_t>(prompts.size()), count);
          for (const Tokens& prompt : prompts) {
            ASSERT_EQ(static_cast<int64_t>(prompt.size()), prefix);
            EXPECT_EQ(prompt[0], 1);
            EXPECT_NE(prompt[1], 1);
            EXPECT_EQ(role_of.emplace(prompt[1], role).first->second, role);
          }
          if (prefix == 12) {
            EXPECT_EQ(std::set<Tokens>(prompts.begin(), prompts.end()).size(), prompts.size());
          }
        }
      }
      EXPECT_EQ(role_of.size(), 64u);
    }
  }
}

TEST(ModelProbes, ARoleWithoutAFirstTokenIsRefused) {
  TinyModelOptions options;
  options.vocab = 3;
  const ProbeBench bench = TinyProbeBench(options);
  ExpectError(bench.TryPrompts(*bench.Make({}), ProbeRole::kCalibration, 1).status(),
              absl::StatusCode::kInvalidArgument,
              {bench.model->path(), "2 ordinary tokens"});
}

TEST(ModelProbes, DependOnTheSeedButNotOnThreadsAndCount) {
  const ProbeBench bench = TinyProbeBench();
  ProbeOptions options;
  options.prefix_tokens = 14;
  options.completion_tokens = 5;
  options.seed = 3;
  const auto maker = bench.Make(options);
  const auto forty = bench.Prompts(*maker, ProbeRole::kSearch, 40);
  for (const int threads : {1, 2, 4}) {
    for (const int64_t count : {1, 13, 40}) {
      EXPECT_EQ(bench.Prompts(*maker, ProbeRole::kSearch, count, threads),
                std::vector<Tokens>(forty.begin(), forty.begin() + count));
    }
  }
  EXPECT_EQ(maker->fingerprint(), "");
  options.seed = 4;
  EXPECT_NE(bench.Prompts(options, ProbeRole::kSearch, 40), forty);
}

TEST(ModelProbes, StartWithAnOrdinaryTokenThenFourGreedyOnesAndNeverEnd) {
  const ProbeBench bench(kNovel);
  ProbeOptions options;
  options.prefix_tokens = 30;
  options.completion_tokens = 5;
  std::vector<Tokens> prompts = bench.Prompts(options, ProbeRole::kHeldOut, 12);
  std::vector<Tokens> starts;
  for (const Tokens& prompt : prompts) {
    EXPECT_EQ(prompt[0], 1);
    EXPECT_FALSE(bench.model->tokenizer()->IsSpecial(prompt[1]));
    EXPECT_EQ(std::count(prompt.begin() + 6, prompt.end(), 2), 0);
    starts.push_back({prompt[0], prompt[1]});
  }
  GenerateOptions greedy;
  greedy.max_tokens = 28;
  greedy.stop_at_eos = false;
  Progress progress;
  const auto generations =
      Generate(*bench.transformer, bench.weights.get(), starts, greedy, &progress);
  ASSERT_TRUE(generations.ok()) << generations.status();
  int greedy_throughout = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Tokens rest(prompts[i].begin() + 2, prompts[i].end());
    const Tokens& continued = (*generations)[i].tokens;
    EXPECT_TRUE(std::equal(rest.begin(), rest.begin() + 4, continued.begin()));
    greedy_throughout += rest == continued;
  }
  EXPECT_EQ(greedy_throughout, 0);
}

TEST(ModelProbes, WindowsBeginWithThePrompts) {
  const ProbeBench bench = TinyProbeBench();
  ProbeOptions options;
  options.prefix_tokens = 9;
  options.completion_tokens = 12;
  const auto maker = bench.Make(options);
  EXPECT_EQ(maker->window_tokens(), 21);
  const auto prompts = bench.Prompts(*maker, ProbeRole::kHeldOut, 6);
  Progress progress;
  const auto windows = maker->Windows(
      ProbeRole::kHeldOut, 6, {bench.transformer.get(), bench.weights.get(), 1}, &progress);
  ASSERT_TRUE(windows.ok()) << windows.status();
  ASSERT_EQ(windows->size(), prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_EQ((*windows)[i].size(), 21u);
    EXPECT_TRUE(std::equal(prompts[i].begin(), prompts[i].end(), (*windows)[i].begin()));
  }
}

TEST(ModelProbes, NeedATokenThatTellsThemApart) {
  const ProbeBench bench = TinyProbeBench();
  ProbeOptions options;
  options.prefix_tokens = 1;
  ExpectError(bench.Refusal(options), absl::StatusCode::kInvalidArgument, {"two prefix", "not 1"});

  TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  checkpoint.SetField("bos_token_id", "null");
  const TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const ProbeBench without_bos(dir.path());
  const auto prompts = without_bos.Prompts(options, ProbeRole::kSearch, 5);
  ASSERT_EQ(prompts.size(), 5u);
  for (const Tokens& prompt : prompts) EXPECT_EQ(prompt.size(), 1u);
}

TEST(ModelProbes, CanBeInterrupted) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return true; }
  } stop;
  const ProbeBench bench = TinyProbeBench();
  EXPECT_EQ(
      bench.Make({})
          ->Prompts(ProbeRole::kSearch, 3, {bench.transformer.get(), bench.weights.get(), 1}, &stop)
          .status()
          .code(),
      absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace bitbudget
