// Candidates whose products round their inputs as llama.cpp's do.

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/eval/metrics.h"
#include "tests/eval/eval_bench.h"

namespace bitbudget {
namespace {

const BankOptions kOptions = {.activations = Activations::kLlamaCpp};

// Formats of every rounding, by turns, where they fit; the rest as stored.
Assignment Mixed(const EvalBench& bench) {
  const char* const names[] = {"q4_0", "bf16", "q5_1", "int8-g32", "iq4_nl", "f16", "q8_0", "q4_k"};
  Assignment assignment = bench.bank->StoredAssignment();
  for (size_t c = 0; c < assignment.size(); ++c) {
    const Format format = *ParseFormat(names[c % std::size(names)]);
    if (Fits(format, bench.model->components()[c].cols)) assignment[c] = format;
  }
  return assignment;
}

TEST(LlamaCppActivations, StoredWeightsHaveInputsOfTheirTypeInCandidatesOnly) {
  EvalBench bench = TinyBench(/*tied=*/true);
  EncodingBank bank(*bench.model, *bench.weight_encoder, kOptions);
  const Assignment stored = bank.StoredAssignment();
  const int stages = NumStages(bench.model->config());
  AssignmentWeights reference = bank.Reference();
  EXPECT_FALSE(reference.Pin(0, stages, 1)->set().round_stored);
  EXPECT_FALSE(bench.bank->Weights(stored).Pin(0, stages, 1)->set().round_stored);

  // The same weights as encodings.
  std::vector<std::unique_ptr<ComponentWeights>> encoded;
  WeightSet expected;
  for (size_t c = 0; c < stored.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    encoded.push_back(std::make_unique<ComponentWeights>(
        *bench.encoder->Encode(bench.model->Weight(id), kFormatBF16),
        Activations::kLlamaCpp,
        UseOf(*bench.model, id)));
    expected.components.push_back(encoded.back().get());
  }
  const WeightLease candidate = *bank.Weights(stored).Pin(0, stages, 1);
  const std::vector<int32_t> tokens = RandomTokens(20, bench.model->config().vocab_size, 4);
  const auto logits = [&](const WeightSet& weights) {
    std::vector<float> out(20 * bench.model->config().vocab_size);
    TransformerWorkspace workspace;
    std::vector<float> x(20 * bench.model->config().hidden_size);
    bench.transformer->Embed(weights, tokens, x.data());
    const std::vector<SequenceRows> sequences = {{20, nullptr}};
    for (int stage = 1; stage + 1 < stages; ++stage) {
      bench.transformer->RunStage(stage, weights, sequences, x.data(), &workspace);
    }
    bench.transformer->Logits(
        weights, x.data(), bench.model->config().hidden_size, 20, out.data(), &workspace);
    return out;
  };
  EXPECT_EQ(logits(candidate.set()), logits(expected));
  EXPECT_NE(logits(candidate.set()), logits(reference.Pin(0, stages, 1)->set()));
}

TEST(LlamaCppActivations, FirstDivergentTokensAreThoseOfFreeRunningDecoding) {
  EvalBench bench = NovelBench();
  const std::vector<Generation> reference = bench.FreeRun(bench.weights.get());
  EncodingBank bank(*bench.model, *bench.weight_encoder, kOptions);
  Evaluator evaluator(*bench.transformer, *bench.reference, &bank, {}, &bench.progress);
  for (const Assignment& assignment : {Uniform(bench, "q4_0"), Mixed(bench)}) {
    const auto evaluation = evaluator.EvaluateFromScratch(assignment);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    AssignmentWeights weights = bank.Weights(assignment);
    const std::vector<Generation> generations = bench.FreeRun(&weights);
    for (size_t i = 0; i < generations.size(); ++i) {
      const std::vector<int32_t>& a = reference[i].tokens;
      const auto at = std::mismatch(a.begin(), a.end(), generations[i].tokens.begin()).first;
      EXPECT_EQ((*evaluation)[i].fdt, at - a.begin());
    }
  }
}

TEST(LlamaCppActivations, CachedEqualsUncachedForAnyThreads) {
  EvalBench bench = NovelBench();
  EncodingBank bank(*bench.model, *bench.weight_encoder, kOptions);
  EncodingBank other(*bench.model, *bench.weight_encoder, kOptions);
  Evaluator scratch(*bench.transformer, *bench.reference, &other, {}, &bench.progress);
  for (const int threads : {1, 2}) {
    EvaluatorOptions options;
    options.threads = threads;
    Evaluator evaluator(*bench.transformer, *bench.reference, &bank, options, &bench.progress);
    Random random(31);
    // From the stored weights on, whose products a delta elsewhere must not change.
    for (const Assignment& start : {bank.StoredAssignment(), Mixed(bench)}) {
      ASSERT_TRUE(evaluator.SetIncumbent(start).ok());
      EXPECT_EQ(evaluator.incumbent_evaluation(), *scratch.EvaluateFromScratch(start));
      EXPECT_GT(Compute(Statistic::kKlMean, evaluator.incumbent_evaluation()), 0);
      for (int i = 0; i < 6; ++i) {
        const std::vector<ComponentFormat> delta = RandomDelta(bank, &random);
        EXPECT_EQ(*evaluator.Evaluate(delta),
                  *scratch.EvaluateFromScratch(WithDelta(start, delta)));
      }
    }
  }
}

TEST(LlamaCppActivations, AreCoarserThanInt16AndFinerThanFourBits) {
  EvalBench bench = NovelBench();
  std::vector<double> kl;
  for (const Activations activations :
       {Activations::kInt16, Activations::kLlamaCpp, Activations::kToken4}) {
    EncodingBank bank(*bench.model, *bench.weight_encoder, {.activations = activations});
    Evaluator evaluator(*bench.transformer, *bench.reference, &bank, {}, &bench.progress);
    kl.push_back(
        Compute(Statistic::kKlMean, *evaluator.EvaluateFromScratch(Uniform(bench, "q8_0"))));
  }
  EXPECT_LT(kl[0], kl[1]);
  EXPECT_LT(10 * kl[1], kl[2]);
}

}  // namespace
}  // namespace bitbudget
