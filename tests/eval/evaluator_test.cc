#include "runtime/eval/evaluator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "tests/eval/eval_bench.h"

namespace bitbudget {
namespace {

int64_t StageBytes(const EvalBench& bench) {
  return bench.reference->total_rows() * bench.model->config().hidden_size * 4;
}

// The index of the first difference between two free-running completions.
std::vector<int> FirstDifferences(const std::vector<Generation>& reference,
                                  const std::vector<Generation>& candidate) {
  std::vector<int> first;
  for (size_t i = 0; i < reference.size(); ++i) {
    const auto& a = reference[i].tokens;
    const auto& b = candidate[i].tokens;
    const auto [at, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    first.push_back(static_cast<int>(at - a.begin()));
  }
  return first;
}

void ExpectFdtIsThatOfFreeRunningDecoding(EvalBench bench, int candidates) {
  const auto evaluator = bench.MakeEvaluator();
  const auto reference = bench.FreeRun(bench.weights.get());
  for (size_t i = 0; i < reference.size(); ++i) {
    const Probe& probe = bench.reference->probes()[i];
    std::vector<int32_t> tokens = bench.prompts[i];
    EXPECT_EQ(probe.prompt, static_cast<int64_t>(tokens.size()));
    tokens.insert(tokens.end(), reference[i].tokens.begin(), reference[i].tokens.end());
    EXPECT_EQ(probe.tokens, tokens);
    EXPECT_EQ(probe.margins, reference[i].margins);
  }
  Random random(17);
  int64_t at_start = 0, on_the_way = 0, never = 0;
  for (int c = 0; c < candidates; ++c) {
    const Assignment assignment = RandomAssignment(*bench.bank, &random);
    const auto evaluation = evaluator->EvaluateFromScratch(assignment);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    AssignmentWeights weights = bench.bank->Weights(assignment);
    const std::vector<int> expected = FirstDifferences(reference, bench.FreeRun(&weights));
    for (size_t i = 0; i < expected.size(); ++i) {
      const ProbeResult& result = (*evaluation)[i];
      ASSERT_EQ(result.fdt, expected[i]) << "candidate " << c << ", probe " << i;
      ASSERT_EQ(result.tokens, bench.reference->probes()[i].completion());
      ASSERT_EQ(result.sdt == 0, result.fdt == result.tokens);
      ++(result.fdt == 0 ? at_start : result.fdt == result.tokens ? never : on_the_way);
    }
  }
  // The candidates put the question in all its forms.
  EXPECT_GT(at_start, candidates / 20);
  EXPECT_GT(on_the_way, candidates);
  EXPECT_GT(never, candidates / 2);
}

TEST(FirstDivergentToken, IsThatOfFreeRunningDecodingOnRandomModels) {
  ExpectFdtIsThatOfFreeRunningDecoding(TinyBench(/*tied=*/false), 80);
  ExpectFdtIsThatOfFreeRunningDecoding(TinyBench(/*tied=*/true), 80);
}

TEST(FirstDivergentToken, IsThatOfFreeRunningDecodingOnATrainedModel) {
  ExpectFdtIsThatOfFreeRunningDecoding(NovelBench(), 40);
}

TEST(FirstDivergentToken, IsThatOfFreeRunningDecodingWithActivationsRoundedPerToken) {
  EvalBench bench = NovelBench();
  const auto reference = bench.FreeRun(bench.weights.get());
  std::vector<Evaluation> seen;
  for (const Activations activations :
       {Activations::kInt16, Activations::kToken8, Activations::kToken4}) {
    EncodingBank bank(*bench.model, *bench.weight_encoder, {.activations = activations});
    Evaluator evaluator(*bench.transformer, *bench.reference, &bank, {}, &bench.progress);
    const auto evaluation = evaluator.EvaluateFromScratch(Uniform(bench, "int8"));
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    AssignmentWeights weights = bank.Weights(Uniform(bench, "int8"));
    const std::vector<int> expected = FirstDifferences(reference, bench.FreeRun(&weights));
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ((*evaluation)[i].fdt, expected[i]);
    seen.push_back(*evaluation);
  }
  EXPECT_LT(Compute(Statistic::kKlMean, seen[0]), Compute(Statistic::kKlMean, seen[1]));
  EXPECT_LT(10 * Compute(Statistic::kKlMean, seen[1]), Compute(Statistic::kKlMean, seen[2]));
}

// A walk of random deltas and commits; every answer must be that of a full pass by an evaluator
// that caches nothing and runs on one thread.
void ExpectCachedEqualsUncached(EvalBench* bench, const EvaluatorOptions& options, int steps) {
  const auto evaluator = bench->MakeEvaluator(options);
  const auto scratch = bench->MakeEvaluator();
  Random random(29);
  ASSERT_TRUE(evaluator->SetIncumbent(RandomAssignment(*bench->bank, &random)).ok());
  const int components = static_cast<int>(bench->model->components().size());
  for (int step = 0; step < steps; ++step) {
    auto delta = RandomDelta(*bench->bank, &random);
    // The ends of the chain come up in every walk, both alone and for good.
    if (step % 8 == 2) delta = {{0, *ParseFormat("int4-g32")}};
    if (step % 8 == 5) delta = {{components - 1, *ParseFormat("int4-g64")}};
    if (step % 8 == 6) delta = {{components - 1, *ParseFormat("int8-g32")}};
    if (step % 8 == 7) delta.clear();
    const auto expected = scratch->EvaluateFromScratch(WithDelta(evaluator->incumbent(), delta));
    ASSERT_TRUE(expected.ok()) << expected.status();
    const Assignment before = evaluator->incumbent();
    const auto evaluation = evaluator->Evaluate(delta);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    ASSERT_EQ(*evaluation, *expected) << "step " << step;
    ASSERT_EQ(evaluator->incumbent(), before);
    if (step % 2 != 0) continue;
    ASSERT_TRUE(evaluator->Commit(delta).ok());
    ASSERT_EQ(evaluator->incumbent(), WithDelta(before, delta));
    ASSERT_EQ(evaluator->incumbent_evaluation(), *expected) << "step " << step;
  }
}

TEST(Evaluator, CachedEqualsUncachedForAnyThreadsAndMemory) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    ASSERT_GE(bench.reference->total_rows(), 2 * kBatchRows + 1);  // three batches
    // Seven stages have a stream ahead of them: all kept, every second, every third, one.
    for (const int64_t kept : {7, 4, 3, 0}) {
      for (const int threads : {1, 2, 4}) {
        SCOPED_TRACE(absl::StrCat(kept, " stages kept, ", threads, " threads, tied ", tied));
        EvaluatorOptions options;
        options.threads = threads;
        options.max_cache_bytes = kept * StageBytes(bench);
        ExpectCachedEqualsUncached(&bench, options, 9);
      }
    }
  }
}

TEST(Evaluator, CachedEqualsUncachedOnATrainedModel) {
  EvalBench bench = NovelBench();
  EvaluatorOptions options;
  options.threads = 2;
  ExpectCachedEqualsUncached(&bench, options, 12);
  options.max_cache_bytes = 3 * StageBytes(bench);
  ExpectCachedEqualsUncached(&bench, options, 12);
}

TEST(Evaluator, ABankThatKeepsNothingGivesTheSame) {
  EvalBench bench = TinyBench(false);
  const auto generous = bench.MakeEvaluator();
  EncodingBank small(*bench.model, *bench.weight_encoder, {.max_bytes = 0});
  Evaluator evaluator(*bench.transformer, *bench.reference, &small, {}, &bench.progress);
  Random random(3);
  const Assignment start = RandomAssignment(small, &random);
  ASSERT_TRUE(generous->SetIncumbent(start).ok());
  ASSERT_TRUE(evaluator.SetIncumbent(start).ok());
  for (int step = 0; step < 10; ++step) {
    const auto delta = RandomDelta(small, &random);
    EXPECT_EQ(*evaluator.Evaluate(delta), *generous->Evaluate(delta));
    ASSERT_TRUE(evaluator.Commit(delta).ok());
    ASSERT_TRUE(generous->Commit(delta).ok());
    EXPECT_EQ(evaluator.incumbent_evaluation(), generous->incumbent_evaluation());
  }
}

TEST(Evaluator, TheReferenceDoesNotDependOnThreadsOrOnKeptLogits) {
  EvalBench bench = TinyBench(false);
  const auto kept = bench.MakeEvaluator();
  Random random(4);
  std::vector<Assignment> candidates;
  for (int i = 0; i < 8; ++i) candidates.push_back(RandomAssignment(*bench.bank, &random));
  for (const int64_t max_logits_bytes : {int64_t{0}, int64_t{1} << 30}) {
    for (const int threads : {1, 2, 4}) {
      ReferenceOptions options;
      options.threads = threads;
      options.max_logits_bytes = max_logits_bytes;
      const auto other = bench.MakeReference(options);
      for (size_t i = 0; i < bench.prompts.size(); ++i) {
        EXPECT_EQ(other->probes()[i].tokens, bench.reference->probes()[i].tokens);
        EXPECT_EQ(other->probes()[i].margins, bench.reference->probes()[i].margins);
      }
      EvaluatorOptions evaluator_options;
      evaluator_options.threads = threads;
      Evaluator evaluator(
          *bench.transformer, *other, bench.bank.get(), evaluator_options, &bench.progress);
      for (const Assignment& candidate : candidates) {
        EXPECT_EQ(*evaluator.EvaluateFromScratch(candidate), *kept->EvaluateFromScratch(candidate));
      }
    }
  }
}

TEST(Evaluator, CountsTheRowsOfTheLayersThatItRuns) {
  EvalBench bench = TinyBench(false);
  const int64_t rows = bench.reference->total_rows();
  int64_t expected_rows = 0;
  for (const Probe& probe : bench.reference->probes()) {
    expected_rows += static_cast<int64_t>(probe.tokens.size()) - 1;
  }
  EXPECT_EQ(rows, expected_rows);

  const Format int8 = *ParseFormat("int8");
  // Components: 0 embedding, 1 + 7b + (q k v o gate up down), 22 head. Stages 1 .. 6 are run, the
  // halves of three layers.
  const std::vector<ComponentFormat> embedding = {{0, int8}};
  const std::vector<ComponentFormat> gate_of_0 = {{5, int8}};
  const std::vector<ComponentFormat> q_of_1 = {{8, int8}};
  const std::vector<ComponentFormat> down_of_2 = {{21, int8}};
  const std::vector<ComponentFormat> head = {{22, int8}};
  const std::vector<ComponentFormat> head_and_q_of_1 = {{22, int8}, {8, int8}};

  const auto evaluator = bench.MakeEvaluator();
  const auto cost = [&](const std::vector<ComponentFormat>& delta, ProbeRange range) {
    return evaluator->CostOf(std::span<const ComponentFormat>(delta), range);
  };
  const ProbeRange all = {0, evaluator->probe_count()};
  EXPECT_EQ(evaluator->CostOf(std::nullopt, all), 3.0 * rows);
  EXPECT_EQ(cost(embedding, all), 3.0 * rows);
  EXPECT_EQ(cost(gate_of_0, all), 2.5 * rows);
  EXPECT_EQ(cost(q_of_1, all), 2.0 * rows);
  EXPECT_EQ(cost(down_of_2, all), 0.5 * rows);
  EXPECT_EQ(cost(head, all), 0);
  EXPECT_EQ(cost(head_and_q_of_1, all), 2.0 * rows);
  const int64_t some = bench.reference->probes()[3].rows() + bench.reference->probes()[4].rows();
  EXPECT_EQ(cost(q_of_1, {3, 2}), 2.0 * some);
}

TEST(Evaluator, ARangeOfProbesGivesTheirResults) {
  EvalBench bench = TinyBench(false);
  Random random(9);
  for (const int threads : {1, 2}) {
    EvaluatorOptions options;
    options.threads = threads;
    const auto evaluator = bench.MakeEvaluator(options);
    ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
    for (int i = 0; i < 10; ++i) {
      const std::vector<ComponentFormat> delta = RandomDelta(*bench.bank, &random);
      const Evaluation whole = *evaluator->Evaluate(delta);
      const int64_t first = static_cast<int64_t>(random.Below(whole.size()));
      const int64_t count = static_cast<int64_t>(random.Below(whole.size() - first + 1));
      const Evaluation part = *evaluator->Evaluate(delta, {first, count});
      EXPECT_EQ(part, Evaluation(whole.begin() + first, whole.begin() + first + count));
    }
  }
}

TEST(Evaluator, InterruptionLeavesTheIncumbentUsable) {
  EvalBench bench = TinyBench(false);
  for (const int threads : {1, 2}) {
    EvaluatorOptions options;
    options.threads = threads;
    const auto evaluator = bench.MakeEvaluator(options);
    ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
    const Evaluation incumbent = evaluator->incumbent_evaluation();
    const std::vector<ComponentFormat> delta = {{2, *ParseFormat("int4-g32")}};
    const Evaluation expected =
        *evaluator->EvaluateFromScratch(WithDelta(evaluator->incumbent(), delta));
    // A question per batch and stage, and one at the end.
    bench.progress.calls_left = 1000000;
    ASSERT_TRUE(evaluator->Evaluate(delta).ok());
    const int64_t questions = 1000000 - bench.progress.calls_left;
    EXPECT_GE(questions, 3 * 7 + 1);
    for (int64_t calls = 0; calls < questions; ++calls) {
      bench.progress.calls_left = calls;
      EXPECT_EQ(evaluator->Evaluate(delta).status().code(), absl::StatusCode::kCancelled);
      bench.progress.calls_left = 1000000;
      EXPECT_EQ(evaluator->incumbent(), Uniform(bench, "int8"));
      EXPECT_EQ(evaluator->incumbent_evaluation(), incumbent);
      EXPECT_EQ(*evaluator->Evaluate(delta), expected);
    }
    bench.progress.calls_left = 0;
    EXPECT_EQ(evaluator->EvaluateFromScratch(evaluator->incumbent()).status().code(),
              absl::StatusCode::kCancelled);
    EXPECT_EQ(evaluator->NoiseFloor(1000).status().code(), absl::StatusCode::kCancelled);
    bench.progress.calls_left = 1000000;
    EXPECT_EQ(*evaluator->Evaluate({}), incumbent);
  }
}

TEST(Evaluator, AnInterruptedIncumbentIsNone) {
  EvalBench bench = TinyBench(false);
  const auto evaluator = bench.MakeEvaluator();
  const std::vector<ComponentFormat> delta = {{2, *ParseFormat("int4-g32")}};
  ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
  const Evaluation expected = *evaluator->Evaluate(delta);
  // The second batch is not reached, the streams of the first are overwritten.
  bench.progress.calls_left = 1;
  EXPECT_EQ(evaluator->Commit(delta).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(evaluator->incumbent().empty());
  bench.progress.calls_left = 1000000;
  ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
  EXPECT_EQ(*evaluator->Evaluate(delta), expected);

  bench.progress.calls_left = 1;
  EXPECT_EQ(evaluator->SetIncumbent(Uniform(bench, "int4-g32")).code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(evaluator->incumbent().empty());
  bench.progress.calls_left = 1000000;
  ASSERT_TRUE(evaluator->SetIncumbent(Uniform(bench, "int8")).ok());
  EXPECT_EQ(*evaluator->Evaluate(delta), expected);
  // The incumbent itself may be given again.
  ASSERT_TRUE(evaluator->SetIncumbent(evaluator->incumbent()).ok());
  EXPECT_EQ(evaluator->incumbent(), Uniform(bench, "int8"));
  EXPECT_EQ(*evaluator->Evaluate(delta), expected);
}

TEST(ReferenceRun, CanBeInterruptedAnywhere) {
  EvalBench bench = TinyBench(false);
  int cancelled = 0;
  for (int64_t calls = 0;; ++calls) {
    bench.progress.calls_left = calls;
    ReferenceOptions options;
    options.completion_tokens = 3;
    const auto run = ReferenceRun::Create(
        *bench.transformer, bench.weights.get(), bench.prompts, options, &bench.progress);
    if (run.ok()) break;
    EXPECT_EQ(run.status().code(), absl::StatusCode::kCancelled);
    ++cancelled;
  }
  EXPECT_GE(cancelled, 6);
}

}  // namespace
}  // namespace bitbudget
