#include <vector>

#include "runtime/eval/evaluator.h"
#include "tests/eval/eval_bench.h"

namespace bitbudget {
namespace {

std::vector<int> FdtOf(const Evaluation& evaluation) {
  std::vector<int> fdt;
  for (const ProbeResult& probe : evaluation) fdt.push_back(probe.fdt);
  return fdt;
}

// Random deltas on random incumbents: the same first divergent tokens as a whole evaluation.
void ExpectTheFdtOfEvaluate(EvalBench* bench, const EvaluatorOptions& options, int steps) {
  const auto evaluator = bench->MakeEvaluator(options);
  const int components = static_cast<int>(bench->model->components().size());
  Random random(31);
  int64_t early = 0, never = 0;
  for (int step = 0; step < steps; ++step) {
    if (step % 4 == 0) {
      ASSERT_TRUE(evaluator->SetIncumbent(RandomAssignment(*bench->bank, &random)).ok());
    }
    std::vector<ComponentFormat> delta = RandomDelta(*bench->bank, &random);
    if (step % 4 == 1) delta = {{components - 1, *ParseFormat("int4-g32")}};  // the head alone
    if (step % 4 == 2) delta = {{0, *ParseFormat("int8")}};
    const auto whole = evaluator->Evaluate(delta);
    ASSERT_TRUE(whole.ok()) << whole.status();
    const std::vector<int> expected = FdtOf(*whole);
    const int64_t count = static_cast<int64_t>(expected.size());
    const auto fdt = evaluator->EvaluateFdt(delta, {0, count});
    ASSERT_TRUE(fdt.ok()) << fdt.status();
    EXPECT_EQ(*fdt, expected) << "step " << step;
    const int64_t first = static_cast<int64_t>(random.Below(count));
    const int64_t some = static_cast<int64_t>(random.Below(count - first + 1));
    const auto part = evaluator->EvaluateFdt(delta, {first, some});
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_EQ(*part, std::vector<int>(expected.begin() + first, expected.begin() + first + some));
    const Assignment assignment = WithDelta(evaluator->incumbent(), delta);
    EXPECT_EQ(*evaluator->EvaluateFdtFromScratch(assignment), expected);
    for (const ProbeResult& probe : *whole) {
      early += probe.fdt < probe.tokens / 2;
      never += probe.fdt == probe.tokens;
    }
  }
  EXPECT_GT(early, steps);
  EXPECT_GT(never, steps / 2);
}

TEST(EvaluateFdt, IsTheFdtOfEvaluateForAnyThreadsAndMemory) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    for (const int64_t bytes : {int64_t{0}, int64_t{300000}, int64_t{1} << 30}) {
      for (const int threads : {1, 3}) {
        EvaluatorOptions options;
        options.threads = threads;
        options.max_cache_bytes = bytes;
        ExpectTheFdtOfEvaluate(&bench, options, 12);
      }
    }
  }
}

// Windows, capped logits that the screen has to respect, and a tied head.
TEST(EvaluateFdt, IsTheFdtOfEvaluateWithSoftCapsAndWindows) {
  TinyModelOptions options;
  options.architecture = Architecture::kGemma2;
  options.layers = 3;
  options.seed = 8;
  const TinyModel tiny(options);
  EvalBench bench(tiny.path(), 20, 16);
  ExpectTheFdtOfEvaluate(&bench, {}, 12);
}

TEST(EvaluateFdt, IsTheFdtOfEvaluateOnATrainedModel) {
  EvalBench bench = NovelBench();
  ExpectTheFdtOfEvaluate(&bench, {}, 8);
}

TEST(EvaluateFdt, NeedsNoDistributions) {
  EvalBench bench = TinyBench(false);
  const auto whole = bench.MakeEvaluator();
  ReferenceOptions options;
  options.distributions = false;
  const auto completions = bench.MakeReference(options);
  Evaluator evaluator(*bench.transformer, *completions, bench.bank.get(), {}, &bench.progress);
  const Assignment int4 = Uniform(bench, "int4-g32");
  EXPECT_EQ(*evaluator.EvaluateFdtFromScratch(int4), FdtOf(*whole->EvaluateFromScratch(int4)));
}

TEST(EvaluateFdt, CanBeInterrupted) {
  EvalBench bench = TinyBench(false);
  const auto evaluator = bench.MakeEvaluator();
  ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
  const std::vector<ComponentFormat> delta = {{2, *ParseFormat("int4-g32")}};
  const std::vector<int> expected = FdtOf(*evaluator->Evaluate(delta));
  for (const int64_t calls : {0, 1, 7, 20}) {
    bench.progress.calls_left = calls;
    EXPECT_EQ(evaluator->EvaluateFdt(delta, {0, 20}).status().code(), absl::StatusCode::kCancelled);
    bench.progress.calls_left = 1000000;
    EXPECT_EQ(*evaluator->EvaluateFdt(delta, {0, 20}), expected);
  }
}

}  // namespace
}  // namespace bitbudget
