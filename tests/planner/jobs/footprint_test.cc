#include "planner/jobs/footprint.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/feasibility.h"
#include "planner/output/gguf_output.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kMiB = int64_t{1} << 20;

// The geometries of Llama 2 7B and Llama 3 8B, whose buffers are well known.
ModelConfig Llama(int64_t vocab, int64_t kv_heads, int64_t ffn) {
  ModelConfig config;
  config.hidden_size = 4096;
  config.intermediate_size = ffn;
  config.num_hidden_layers = 32;
  config.num_attention_heads = 32;
  config.num_key_value_heads = kv_heads;
  config.head_dim = 128;
  config.vocab_size = vocab;
  return config;
}

TEST(KvBytes, AreThoseOfWellKnownModels) {
  // llama.cpp: "KV self size = 256.00 MiB" at 512 positions, 1024 MiB for 8 heads at 8192.
  EXPECT_EQ(*KvBytes(Llama(32000, 32, 11008), {512, "f16"}), 256 * kMiB);
  EXPECT_EQ(*KvBytes(Llama(128256, 8, 14336), {8192, "f16"}), 1024 * kMiB);
  EXPECT_EQ(*KvBytes(Llama(128256, 8, 14336), {8192, "q8_0"}), 1024 * kMiB * 34 / 64);
  // Cells come in 256s.
  EXPECT_EQ(*KvBytes(Llama(128256, 8, 14336), {8191, "f16"}), 1024 * kMiB);
  EXPECT_EQ(*KvBytes(Llama(32000, 32, 11008), {1, "f16"}), 128 * kMiB);
}

TEST(KvBytes, SlidingLayersHoldTheirWindowAndABatch) {
  ModelConfig config = Llama(128256, 8, 14336);
  const int64_t all = *KvBytes(config, {8192, "f16"});
  config.sliding_window = 1024;
  config.sliding_layers.assign(32, false);
  for (int layer = 0; layer < 32; layer += 2) config.sliding_layers[layer] = true;
  EXPECT_EQ(*KvBytes(config, {8192, "f16"}), all / 2 + all / 2 * (1024 + 512) / 8192);
  EXPECT_EQ(*KvBytes(config, {1024, "f16"}), all / 8);  // no more than the context
}

TEST(KvBytes, RefuseWhatLlamaCppRefuses) {
  ModelConfig config = Llama(128256, 8, 14336);
  ExpectError(KvBytes(config, {0, "f16"}).status(), kInvalid, {"the context is 0 positions"});
  ExpectError(
      KvBytes(config, {64, "q4_0"}).status(), kInvalid, {"unknown type of keys and values 'q4_0'"});
  config.head_dim = 80;
  ExpectError(KvBytes(config, {64, "q8_0"}).status(), kInvalid, {"heads of 80", "32"});
}

TEST(ComputeBytes, AreTheLargerOfHeadAndLayer) {
  constexpr int64_t kInputs = 65536;
  // Llama 3 8B: the logits of 512 positions alone are 250.5 MiB.
  EXPECT_EQ(ComputeBytes(Llama(128256, 8, 14336), {8192, "f16"}),
            kMiB * 501 / 2 + 16 * kMiB + kInputs);
  // A small vocabulary: the MLP and the mask are larger than the head.
  ModelConfig config = Llama(1000, 8, 14336);
  EXPECT_EQ(ComputeBytes(config, {2048, "f16"}),
            512 * (4 * (4 * 14336 + 4096) + 2 * 2048) + kInputs);
  // No batch is longer than the context, whose cells come in 256s.
  EXPECT_EQ(ComputeBytes(config, {100, "f16"}), 100 * (4 * (4 * 14336 + 4096) + 2 * 256) + kInputs);
  // Sliding layers have a mask of their own.
  config.sliding_window = 1024;
  config.sliding_layers.assign(32, true);
  config.sliding_layers[0] = false;
  EXPECT_EQ(ComputeBytes(config, {4096, "f16"}),
            512 * (4 * (4 * 14336 + 4096) + 2 * (4096 + 1024 + 512)) + kInputs);
}

TEST(GgufOverheadBytes, CoverWhatAFileHoldsBesideTheWeights) {
  const ModelWithText model;
  const int64_t overhead = *GgufOverheadBytes(*model);
  for (const char* format : {"q4_0", "q8_0", "bf16", "f32"}) {
    const Assignment assignment((*model).components().size(), *ParseFormat(format));
    const auto output = GgufOutput::Create(*model, assignment, {});
    ASSERT_TRUE(output.ok()) << output.status();
    int64_t weights = (*model).fixed_bytes();
    for (const Component& c : (*model).components()) {
      weights += SizeBytes(*ParseFormat(format), c.rows, c.cols);
    }
    const int64_t beside = output->FileBytes() - weights;
    EXPECT_GE(overhead, beside);
    // 4096 for provenance and 31 for the padding of every tensor.
    EXPECT_LE(overhead, beside + 4096 + 62 * static_cast<int64_t>(assignment.size()));
  }
}

TEST(SplitBudget, DividesAMemoryBudget) {
  const LoadedModel model;
  const Budget budget = *ParseBudget("64MiB");
  const TargetProfile* const llama = *FindTarget("llama.cpp");
  BudgetScope scope;
  scope.context = 300;
  const auto memory = SplitBudget(*model, budget, scope, llama);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->counts, BudgetFor::kMemory);
  EXPECT_EQ(memory->total_bytes, 64 * kMiB);
  EXPECT_EQ(memory->kv_bytes, *KvBytes((*model).config(), {300, "f16"}));
  EXPECT_EQ(memory->compute_bytes, ComputeBytes((*model).config(), {300, "f16"}));
  EXPECT_EQ(memory->file_overhead, *GgufOverheadBytes(*model));
  EXPECT_EQ(memory->weight_bytes,
            64 * kMiB - memory->kv_bytes - memory->compute_bytes - memory->file_overhead);

  const auto file = SplitBudget(*model, budget, {}, llama);
  EXPECT_EQ(file->counts, BudgetFor::kFile);
  EXPECT_EQ(file->weight_bytes, 64 * kMiB - *GgufOverheadBytes(*model));
  EXPECT_EQ(file->kv_bytes, 0);
  const auto weights = SplitBudget(*model, budget, {}, nullptr);
  EXPECT_EQ(weights->counts, BudgetFor::kWeights);
  EXPECT_EQ(weights->weight_bytes, 64 * kMiB);
  const auto bits = SplitBudget(*model, *ParseBudget("4bpw"), {}, llama);
  EXPECT_EQ(bits->counts, BudgetFor::kWeights);
  EXPECT_EQ(bits->weight_bytes, (*model).parameter_count() / 2);
}

TEST(SplitBudget, RefusesOptionsThatDoNotGoTogether) {
  const LoadedModel model;
  const TargetProfile* const llama = *FindTarget("llama.cpp");
  const auto refuse = [&](const char* budget,
                          const BudgetScope& scope,
                          const TargetProfile* target,
                          const std::vector<std::string>& parts) {
    ExpectError(SplitBudget(*model, *ParseBudget(budget), scope, target).status(), kInvalid, parts);
  };
  refuse("6GiB", {BudgetFor::kMemory, {}, "f16"}, llama, {"a budget for memory needs a context"});
  refuse("6GiB", {BudgetFor::kFile, 64, "f16"}, llama, {"a context is for a budget for memory"});
  refuse("6GiB", {BudgetFor::kFile, {}, "f16"}, *FindTarget("mlx"), {"a budget for a file needs"});
  refuse("6GiB", {BudgetFor::kFile, {}, "f16"}, nullptr, {"a budget for a file needs"});
  refuse("4.5bpw", {{}, 64, "f16"}, llama, {"4.5bpw is about the weights", "6GiB"});
  ExpectError(ParseBudgetFor("disk").status(), kInvalid, {"'disk'", "weights, file, memory"});
  const absl::Status nothing =
      SplitBudget(*model, *ParseBudget("1KiB"), {{}, 64, "f16"}, nullptr).status();
  ExpectError(nothing, kInvalid, {"leaves nothing for the weights", "keys and values in q8_0"});
  EXPECT_TRUE(IsInfeasible(nothing));
}

}  // namespace
}  // namespace bitbudget
