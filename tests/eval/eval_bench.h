#ifndef BITBUDGET_TESTS_EVAL_EVAL_BENCH_H_
#define BITBUDGET_TESTS_EVAL_EVAL_BENCH_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/random.h"
#include "runtime/eval/bank.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/reference.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/formats.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

// Interrupts from the `calls_left`-th question on.
class CountingProgress : public Progress {
 public:
  bool Interrupted() const override { return --calls_left < 0; }
  mutable std::atomic<int64_t> calls_left = std::numeric_limits<int32_t>::max();
};

// A model with everything that an evaluator needs.
struct EvalBench {
  EvalBench(const std::string& folder, int probes, int64_t completion) : completion(completion) {
    auto loaded = Model::Load(folder, 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
    transformer = std::make_unique<Transformer>(*model, 30 + completion);
    weights = std::make_unique<ReferenceWeights>(*model, 1);
    encoder = MakeRtnEncoder();
    weight_encoder = std::make_unique<StatsWeightEncoder>(*model, *encoder);
    bank = std::make_unique<EncodingBank>(*model, *weight_encoder, BankOptions());
    for (int i = 0; i < probes; ++i) {
      prompts.push_back(RandomTokens(1 + i * 11 % 23, model->config().vocab_size, 1000 + i));
    }
    reference = MakeReference({});
  }

  std::unique_ptr<ReferenceRun> MakeReference(ReferenceOptions options) {
    options.completion_tokens = completion;
    auto run = ReferenceRun::Create(*transformer, weights.get(), prompts, options, &progress);
    EXPECT_TRUE(run.ok()) << run.status();
    return *std::move(run);
  }

  std::unique_ptr<Evaluator> MakeEvaluator(EvaluatorOptions options = {}) {
    return std::make_unique<Evaluator>(*transformer, *reference, bank.get(), options, &progress);
  }

  // Greedy completions of the prompts with these weights, token by token.
  std::vector<Generation> FreeRun(WeightSource* source) {
    GenerateOptions options;
    options.max_tokens = completion;
    auto generations = Generate(*transformer, source, prompts, options, &progress);
    EXPECT_TRUE(generations.ok()) << generations.status();
    return *std::move(generations);
  }

  std::unique_ptr<Model> model;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<ReferenceWeights> weights;
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<StatsWeightEncoder> weight_encoder;
  std::unique_ptr<EncodingBank> bank;
  std::vector<std::vector<int32_t>> prompts;
  int64_t completion;
  CountingProgress progress;
  std::unique_ptr<ReferenceRun> reference;
};

// Three layers and 14 probes, which make several batches.
inline EvalBench TinyBench(bool tied) {
  TinyModelOptions options;
  options.layers = 3;
  options.tied = tied;
  options.dtype = kFormatBF16;
  options.seed = tied ? 5 : 6;
  const TinyModel tiny(options);
  return EvalBench(tiny.path(), 20, 16);
}

inline EvalBench NovelBench() {
  return EvalBench(absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/novel-1m"), 5, 12);
}

// A format for every component: one of eight levels of damage between none and "everything in
// int4", so that candidates diverge early, late and not at all.
inline Assignment RandomAssignment(const EncodingBank& bank, Random* random) {
  Assignment assignment = bank.StoredAssignment();
  const uint64_t level = random->Below(8);
  for (size_t c = 0; c < assignment.size(); ++c) {
    const Format any = RandomFormatFor(bank.model().components()[c].cols, random);
    if (random->Below(7) < level || any.bits >= 8) assignment[c] = any;
  }
  return assignment;
}

// One to three changes, anywhere.
inline std::vector<ComponentFormat> RandomDelta(const EncodingBank& bank, Random* random) {
  const Assignment all = bank.StoredAssignment();
  std::vector<ComponentFormat> delta;
  for (uint64_t left = 1 + random->Below(3); left > 0; --left) {
    const ComponentId component = static_cast<ComponentId>(random->Below(all.size()));
    delta.push_back({component, RandomFormatFor(bank.model().component(component).cols, random)});
  }
  return delta;
}

// All weights of an assignment at once.
inline WeightLease PinAll(EncodingBank* bank, const Assignment& assignment, int threads = 1) {
  const int stages = NumStages(bank->model().config());
  auto lease = bank->Pin(assignment, F32Activations::kExact, 0, stages, threads);
  EXPECT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(lease->end(), stages);
  return *std::move(lease);
}

inline Assignment Uniform(const EvalBench& bench, const char* format) {
  return Assignment(bench.model->components().size(), *ParseFormat(format));
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_EVAL_EVAL_BENCH_H_
