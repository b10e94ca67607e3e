// Metrics against the same formulas in double, straight from logits.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/eval/evaluator.h"
#include "runtime/eval/perplexity.h"
#include "tests/eval/eval_bench.h"

namespace bitbudget {
namespace {

// Logits [rows][vocab] of a sequence run by itself.
std::vector<float> LogitsOf(const EvalBench& bench,
                            const WeightSet& weights,
                            const std::vector<int32_t>& tokens) {
  const ModelConfig& config = bench.model->config();
  const int64_t rows = static_cast<int64_t>(tokens.size());
  std::vector<float> x(rows * config.hidden_size);
  std::vector<float> logits(rows * config.vocab_size);
  TransformerWorkspace workspace;
  bench.transformer->Embed(weights, tokens, x.data());
  const SequenceRows whole{rows, nullptr};
  for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
    bench.transformer->RunStage(stage, weights, {&whole, 1}, x.data(), &workspace);
  }
  bench.transformer->Logits(
      weights, x.data(), config.hidden_size, rows, logits.data(), &workspace);
  return logits;
}

std::vector<double> LogSoftmax(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  std::vector<double> result;
  for (const float logit : logits) result.push_back(logit - max - std::log(sum));
  return result;
}

// Relative error of a probability that the runtime computes with a float exp: its argument, at most
// `argument` in size, is rounded once, and exp is at most one ulp off.
double ProbabilityError(double argument) { return 0x1p-24 * (std::abs(argument) + 2); }

// The error of log_sum_exp is the mean relative error of its terms; their arguments are relative to
// the largest logit.
double LseError(std::span<const double> log_p) {
  const double max = *std::max_element(log_p.begin(), log_p.end());
  double error = 1e-14;  // the sum and the logarithm, in double
  for (const double lp : log_p) error += std::exp(lp) * ProbabilityError(max - lp);
  return error;
}

struct Direct {
  ProbeResult result;
  double nll_error = 0;
  double kl_error = 0;
};

Direct DirectMetrics(const EvalBench& bench, const Probe& probe, const WeightSet& candidate) {
  const size_t vocab = static_cast<size_t>(bench.model->config().vocab_size);
  const std::vector<float> p = LogitsOf(bench, bench.weights->set(), probe.tokens);
  const std::vector<float> q = LogitsOf(bench, candidate, probe.tokens);
  Direct direct;
  direct.result.tokens = direct.result.fdt = static_cast<int>(probe.completion());
  for (int64_t t = 0; t < probe.completion(); ++t) {
    // Position i predicts token i + 1.
    const size_t position = static_cast<size_t>(probe.prompt + t - 1);
    const auto p_row = std::span(p).subspan(position * vocab, vocab);
    const auto q_row = std::span(q).subspan(position * vocab, vocab);
    const int32_t token = probe.tokens[position + 1];
    EXPECT_EQ(std::max_element(p_row.begin(), p_row.end()) - p_row.begin(), token);
    if (std::max_element(q_row.begin(), q_row.end()) - q_row.begin() != token) {
      if (direct.result.sdt++ == 0) direct.result.fdt = static_cast<int>(t);
    }
    const std::vector<double> log_p = LogSoftmax(p_row);
    const std::vector<double> log_q = LogSoftmax(q_row);
    const double lse_errors = LseError(log_p) + LseError(log_q);
    direct.result.nll_sum -= log_q[token];
    direct.nll_error += lse_errors;
    direct.kl_error += lse_errors;
    for (size_t v = 0; v < vocab; ++v) {
      const double term = std::exp(log_p[v]) * (log_p[v] - log_q[v]);
      direct.result.kl_sum += term;
      direct.kl_error += std::abs(term) * (ProbabilityError(log_p[v]) + lse_errors);
    }
  }
  return direct;
}

void ExpectMetricsFollowTheirFormulas(const EvalBench& bench,
                                      Evaluator* evaluator,
                                      const Assignment& assignment) {
  const auto evaluation = evaluator->EvaluateFromScratch(assignment);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const auto set = bench.bank->Weights(assignment, 1);
  ASSERT_TRUE(set.ok()) << set.status();
  for (size_t i = 0; i < evaluation->size(); ++i) {
    const ProbeResult& got = (*evaluation)[i];
    const Direct direct = DirectMetrics(bench, bench.reference->probes()[i], *set);
    EXPECT_EQ(got.tokens, direct.result.tokens);
    EXPECT_EQ(got.fdt, direct.result.fdt);
    EXPECT_EQ(got.sdt, direct.result.sdt);
    EXPECT_NEAR(got.nll_sum, direct.result.nll_sum, direct.nll_error);
    EXPECT_NEAR(got.kl_sum, direct.result.kl_sum, direct.kl_error);
    EXPECT_LT(direct.nll_error, 1e-4 * got.tokens);
    EXPECT_LT(direct.kl_error, 1e-4 * got.tokens);
  }
}

TEST(Score, FollowsTheFormulas) {
  for (const bool tied : {false, true}) {
    const EvalBench bench = TinyBench(tied);
    Evaluator evaluator(*bench.transformer, *bench.reference, bench.bank.get(), {}, nullptr_progress());
    Random random(71);
    for (int c = 0; c < 10; ++c) {
      ExpectMetricsFollowTheirFormulas(
          bench, &evaluator, RandomAssignment(*bench.bank, &random));
    }
  }
}

}  // namespace
}  // namespace bitbudget
