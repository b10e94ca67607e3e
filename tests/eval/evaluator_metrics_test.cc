// Metrics of candidates against the same formulas in double, straight from logits.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "runtime/eval/evaluator.h"
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
  bench.transformer->Logits(weights, x.data(), config.hidden_size, rows, logits.data(), &workspace);
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
  bool along_own = true;  // every token is the reference's argmax
  double nll_error = 0;
  double kl_error = 0;
};

Direct DirectMetrics(const EvalBench& bench, const Probe& probe, const WeightSet& candidate) {
  const size_t vocab = static_cast<size_t>(bench.model->config().vocab_size);
  const std::vector<float> p = LogitsOf(bench, bench.weights->set(), probe.tokens);
  const std::vector<float> q = LogitsOf(bench, candidate, probe.tokens);
  Direct direct;
  direct.result.tokens = direct.result.fdt = static_cast<int>(probe.completion());
  // Position i predicts token i + 1. Of the prompt, tokens from the 17th on count.
  const int64_t first_text = std::min<int64_t>(16, probe.prompt);
  direct.result.text.tokens = static_cast<int>(probe.prompt - first_text);
  for (int64_t at = first_text; at < static_cast<int64_t>(probe.tokens.size()); ++at) {
    const bool text = at < probe.prompt;
    const size_t position = static_cast<size_t>(at - 1);
    const auto p_row = std::span(p).subspan(position * vocab, vocab);
    const auto q_row = std::span(q).subspan(position * vocab, vocab);
    const int32_t token = probe.tokens[position + 1];
    const auto top = std::max_element(p_row.begin(), p_row.end()) - p_row.begin();
    const bool missed = std::max_element(q_row.begin(), q_row.end()) - q_row.begin() != top;
    const std::vector<double> log_p = LogSoftmax(p_row);
    const std::vector<double> log_q = LogSoftmax(q_row);
    const double lse_errors = LseError(log_p) + LseError(log_q);
    double kl = 0;
    double kl_error = lse_errors;
    for (size_t v = 0; v < vocab; ++v) {
      const double term = std::exp(log_p[v]) * (log_p[v] - log_q[v]);
      kl += term;
      kl_error += std::abs(term) * (ProbabilityError(log_p[v]) + lse_errors);
    }
    direct.nll_error += lse_errors;
    direct.kl_error += kl_error;
    if (text) {
      direct.result.text.misses += missed;
      direct.result.text.nll_sum -= log_q[token];
      direct.result.text.kl_sum += kl;
      continue;
    }
    direct.along_own = direct.along_own && top == token;
    if (missed && direct.result.sdt++ == 0) {
      direct.result.fdt = static_cast<int>(at - probe.prompt);
    }
    direct.result.nll_sum -= log_q[token];
    direct.result.kl_sum += kl;
  }
  return direct;
}

void ExpectMetricsFollowTheirFormulas(const EvalBench& bench,
                                      Evaluator* evaluator,
                                      const Assignment& assignment,
                                      bool along_own = true) {
  const auto evaluation = evaluator->EvaluateFromScratch(assignment);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const WeightLease weights = PinAll(bench.bank.get(), assignment);
  int text_tokens = 0;
  for (size_t i = 0; i < evaluation->size(); ++i) {
    const ProbeResult& got = (*evaluation)[i];
    const Direct direct = DirectMetrics(bench, bench.reference->probes()[i], weights.set());
    EXPECT_EQ(direct.along_own, along_own);
    EXPECT_EQ(got.tokens, direct.result.tokens);
    EXPECT_EQ(got.fdt, direct.result.fdt);
    EXPECT_EQ(got.sdt, direct.result.sdt);
    EXPECT_NEAR(got.nll_sum, direct.result.nll_sum, direct.nll_error);
    EXPECT_NEAR(got.kl_sum, direct.result.kl_sum, direct.kl_error);
    EXPECT_EQ(got.text.tokens, direct.result.text.tokens);
    EXPECT_EQ(got.text.misses, direct.result.text.misses);
    EXPECT_NEAR(got.text.nll_sum, direct.result.text.nll_sum, direct.nll_error);
    EXPECT_NEAR(got.text.kl_sum, direct.result.text.kl_sum, direct.kl_error);
    text_tokens += got.text.tokens;
    EXPECT_LT(direct.nll_error, 1e-4 * got.tokens);
    EXPECT_LT(direct.kl_error, 1e-4 * got.tokens);
  }
  EXPECT_GT(text_tokens, 0);
}

TEST(Score, FollowsTheFormulasOnRandomModels) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    const auto evaluator = bench.MakeEvaluator();
    Random random(71);
    for (int c = 0; c < 10; ++c) {
      ExpectMetricsFollowTheirFormulas(
          bench, evaluator.get(), RandomAssignment(*bench.bank, &random));
    }
  }
}

// Likelihoods are those of the tokens that are followed, hits those of the reference's argmax.
TEST(Score, FollowsTheFormulasAlongOtherTokens) {
  EvalBench bench = TinyBench(false);
  for (const int64_t max_logits_bytes : {int64_t{1} << 30, int64_t{0}}) {
    ReferenceOptions options;
    options.max_logits_bytes = max_logits_bytes;
    for (size_t i = 0; i < bench.prompts.size(); ++i) {
      options.completions.push_back(
          {RandomTokens(bench.completion, bench.model->config().vocab_size, 500 + i), {}, {}});
    }
    bench.reference = bench.MakeReference(options);
    const auto evaluator = bench.MakeEvaluator();
    ExpectMetricsFollowTheirFormulas(
        bench, evaluator.get(), Uniform(bench, "int4-g32"), /*along_own=*/false);
    const auto stored = evaluator->EvaluateFromScratch(bench.bank->StoredAssignment());
    ASSERT_TRUE(stored.ok()) << stored.status();
    for (const ProbeResult& probe : *stored) {
      EXPECT_EQ(probe.sdt, 0);
      EXPECT_EQ(probe.kl_sum, 0);
    }
  }
}

TEST(Score, FollowsTheFormulasOnATrainedModel) {
  EvalBench bench = NovelBench();
  const auto evaluator = bench.MakeEvaluator();
  for (const char* format : {"int8", "int4-g128"}) {
    ExpectMetricsFollowTheirFormulas(bench, evaluator.get(), Uniform(bench, format));
  }
}

// The stored formats are the unmodified model, and every kernel gives a row the same bits in any
// batch: the candidate's logits are the reference's, its every argmax is the reference's token, and
// in every term of KL the log ratio is 0 - 0.
TEST(Score, TheStoredFormatsAreExactlyTheReference) {
  for (const int which : {0, 1, 2}) {
    EvalBench bench = which == 2 ? NovelBench() : TinyBench(/*tied=*/which == 1);
    const auto evaluator = bench.MakeEvaluator();
    ASSERT_TRUE(evaluator->SetIncumbent(bench.bank->StoredAssignment()).ok());
    const auto f32 = evaluator->EvaluateFromScratch(Uniform(bench, "f32"));  // holds bf16 exactly
    ASSERT_TRUE(f32.ok()) << f32.status();
    for (const Evaluation& evaluation : {evaluator->incumbent_evaluation(), *f32}) {
      ASSERT_EQ(evaluation.size(), bench.prompts.size());
      for (const ProbeResult& probe : evaluation) {
        EXPECT_EQ(probe.fdt, probe.tokens);
        EXPECT_EQ(probe.sdt, 0);
        EXPECT_EQ(probe.kl_sum, 0);
        EXPECT_GT(probe.nll_sum, 0);
      }
    }
  }
}

TEST(Score, TheNoiseFloorIsSmallAndNotZero) {
  for (const bool trained : {false, true}) {
    EvalBench bench = trained ? NovelBench() : TinyBench(false);
    const auto evaluator = bench.MakeEvaluator();
    const auto floor = evaluator->NoiseFloor(1000);
    const auto int8 = evaluator->EvaluateFromScratch(Uniform(bench, "int8-g32"));
    ASSERT_TRUE(floor.ok()) << floor.status();
    ASSERT_TRUE(int8.ok()) << int8.status();
    const double kl = Compute(Statistic::kKlMean, *floor);
    EXPECT_GT(kl, 0);
    // Rounding to 16 bits has 1/256 of the error of rounding to 8, and KL is quadratic in errors.
    EXPECT_LT(kl, Compute(Statistic::kKlMean, *int8) / 256);
    EXPECT_GT(Top1Agreement(Along::kCompletions, *floor), 0.98);
  }
}

// A bank that encodes another checkpoint: candidates are as broken as its weights.
void ExpectFiniteAndWorse(double weight_scale, bool overflows) {
  EvalBench bench = TinyBench(false);
  TinyModelOptions options;
  options.layers = 3;
  options.weight_scale = weight_scale;
  const TinyModel tiny(options);
  const auto broken = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(broken.ok()) << broken.status();
  const StatsWeightEncoder encoder(**broken, *bench.encoder);
  EncodingBank bank(**broken, encoder, BankOptions());
  Evaluator evaluator(*bench.transformer, *bench.reference, &bank, {}, &bench.progress);
  const auto evaluation = evaluator.EvaluateFromScratch(Uniform(bench, "bf16"));
  const auto int4 = bench.MakeEvaluator()->EvaluateFromScratch(Uniform(bench, "int4-g128"));
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  ASSERT_TRUE(int4.ok()) << int4.status();
  for (const ProbeResult& probe : *evaluation) {
    if (!overflows) continue;
    EXPECT_EQ(probe.fdt, 0);
    EXPECT_EQ(probe.sdt, probe.tokens);
    EXPECT_EQ(probe.nll_sum, kMaxNats * probe.tokens);
    EXPECT_EQ(probe.kl_sum, kMaxNats * probe.tokens);
  }
  for (const Statistic statistic : {Statistic::kFdtMean,
                                    Statistic::kFdt75,
                                    Statistic::kSdtMean,
                                    Statistic::kDppl,
                                    Statistic::kKlMean}) {
    SCOPED_TRACE(StatisticName(statistic));
    const double bad = Compute(statistic, *evaluation);
    const double good = Compute(statistic, *int4);
    ASSERT_TRUE(std::isfinite(bad));
    EXPECT_TRUE(LargerIsBetter(statistic) ? bad < good : bad > good);
    for (const Interval& interval : {BootstrapInterval(statistic, *evaluation),
                                     PairedInterval(statistic, *evaluation, *int4),
                                     PairedInterval(statistic, *evaluation, *evaluation)}) {
      EXPECT_TRUE(std::isfinite(interval.low));
      EXPECT_TRUE(std::isfinite(interval.high));
      EXPECT_LE(interval.low, interval.high);
    }
  }
}

TEST(Score, OverflowingLogitsGiveFiniteMetricsThatLose) { ExpectFiniteAndWorse(1e30, true); }
TEST(Score, HugeFiniteLogitsGiveFiniteMetricsThatLose) { ExpectFiniteAndWorse(1e6, false); }

}  // namespace
}  // namespace bitbudget
