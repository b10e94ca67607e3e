// Divergence along prompts (text KL), from jobs' options to their reports and plans.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/evaluate_job.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_record.h"
#include "planner/workspace/workspace.h"
#include "plans/plan_io.h"
#include "plans/validate.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/quantize/weight_encoder.h"
#include "tests/planner/planner_test_util.h"
#include "tests/planner/runs/fake_ranks.h"
#include "tests/support/naive_transformer.h"

namespace bitbudget {
namespace {

constexpr int64_t kWindow = 24;
constexpr int64_t kPrompt = 16;  // the 17th token is the first that counts
constexpr int64_t kFollowed = kWindow - kPrompt;

// Along prompts of kWindow tokens.
EvaluateOptions Evaluation4Bits() {
  EvaluateOptions options;
  options.uniform = *ParseFormat("int4-g32");
  options.workspace.probes.prefix_tokens = kWindow;
  options.workspace.probes.completion_tokens = 4;
  options.probe_count = 5;
  return options;
}

EvaluateOptions OnText(EvaluateOptions options, const ModelWithText& model) {
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  return options;
}

PlanOptions WindowsJob(const std::string& search) {
  PlanOptions options = SmallJob(search, "7bpw");
  options.constraints.formats = *ParseFormatList("int4-g32,int8");
  options.workspace.probes.prefix_tokens = kWindow;
  return options;
}

EvaluateReport MustEvaluate(const Model& model, const EvaluateOptions& options) {
  Progress progress;
  absl::StatusOr<EvaluateReport> report = RunEvaluateJob(model, options, &progress);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *std::move(report) : EvaluateReport();
}

std::vector<double> LogSoftmax(std::span<const double> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - max);
  std::vector<double> result;
  for (const double logit : logits) result.push_back(logit - max - std::log(sum));
  return result;
}

// How far rounding may take the runtime's logits: tests/model/decoder/transformer_test.cc.
double LogitError(const NaiveTransformer& naive,
                  std::span<const int32_t> tokens,
                  const NaivePass& exact) {
  return 4 * MaxDifference(exact.logits, naive.Run(tokens, NaiveArithmetic::kFloat).logits);
}

TEST(TextDivergence, IsWhatTheDefinitionSaysFromThe17thTokenOn) {
  const ModelWithText model;
  EvaluateOptions options = OnText(Evaluation4Bits(), model);
  options.workspace.encoder = "rtn";
  options.workspace.activations = Activations::kF32;
  const EvaluateReport report = MustEvaluate(*model, options);

  const auto maker = ProbeMaker::Create(*model, options.workspace.probes);
  ASSERT_TRUE(maker.ok()) << maker.status();
  Progress progress;
  const auto prompts =
      (*maker)->Prompts(ProbeRole::kHeldOut, options.probe_count, ProbeSampler(), &progress);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  const std::vector<std::vector<int32_t>>& windows = *prompts;
  const NaiveTransformer reference(*model);
  NaiveTransformer candidate(*model);
  const auto encoder = MakeRtnEncoder();
  const StatsWeightEncoder weight_encoder(*model, *encoder);
  for (size_t c = 0; c < (*model).components().size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const auto encoding = weight_encoder.Encode(id, *options.uniform, 1);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    candidate.SetWeights(id, *encoding);
  }

  const size_t vocab = static_cast<size_t>((*model).config().vocab_size);
  ASSERT_EQ(report.evaluation.size(), windows.size());
  double all_kl = 0;
  int all_misses = 0;
  std::vector<double> token_kls;
  for (size_t i = 0; i < windows.size(); ++i) {
    const std::span<const int32_t> tokens(windows[i]);
    const NaivePass p = reference.Run(tokens);
    const NaivePass q = candidate.Run(tokens);
    // Logits off by e take a log probability 2 e away at most; and KL is a mean by p of the
    // differences of two of them.
    const double p_error = 2 * LogitError(reference, tokens, p);
    const double q_error = 2 * LogitError(candidate, tokens, q);
    const ProbeResult::Text& got = report.evaluation[i].text;
    ASSERT_EQ(got.kls.size(), tokens.size() - kPrompt);
    double kl = 0;
    double error = 0;
    int misses = 0;
    for (size_t at = kPrompt; at < tokens.size(); ++at) {
      const auto p_row = std::span(p.logits).subspan((at - 1) * vocab, vocab);
      const auto q_row = std::span(q.logits).subspan((at - 1) * vocab, vocab);
      const std::vector<double> log_p = LogSoftmax(p_row);
      const std::vector<double> log_q = LogSoftmax(q_row);
      const double kl_before = kl;
      const double error_before = error;
      error += p_error + q_error;
      for (size_t v = 0; v < vocab; ++v) {
        const double term = std::exp(log_p[v]) * (log_p[v] - log_q[v]);
        kl += term;
        error += std::abs(term) * std::expm1(p_error);
      }
      // One rounding to float more.
      const double token_kl = kl - kl_before;
      EXPECT_NEAR(got.kls[at - kPrompt],
                  token_kl,
                  error - error_before + token_kl * std::numeric_limits<float>::epsilon());
      token_kls.push_back(got.kls[at - kPrompt]);
      misses += std::max_element(p_row.begin(), p_row.end()) - p_row.begin() !=
                std::max_element(q_row.begin(), q_row.end()) - q_row.begin();
    }
    EXPECT_EQ(got.tokens, kFollowed);
    EXPECT_EQ(got.misses, misses);
    EXPECT_NEAR(got.kl_sum, kl, error);
    EXPECT_LT(error, kl / 10) << "the bound proves nothing";
    all_kl += got.kl_sum;
    all_misses += got.misses;
  }
  const double positions = static_cast<double>(windows.size()) * kFollowed;
  ASSERT_TRUE(report.text_divergence.has_value());
  EXPECT_DOUBLE_EQ(report.text_divergence->kl.value, all_kl / positions);
  EXPECT_DOUBLE_EQ(report.text_divergence->top1.value, 1 - all_misses / positions);
  EXPECT_GT(all_misses, 0);
  std::sort(token_kls.begin(), token_kls.end());
  const double position = 0.999 * (positions - 1);  // between the two largest of 40
  const double largest = token_kls.back(), second = token_kls[token_kls.size() - 2];
  ASSERT_TRUE(report.text_divergence->kl_999.has_value());
  EXPECT_DOUBLE_EQ(report.text_divergence->kl_999->value,
                   second + (position - (positions - 2)) * (largest - second));
  EXPECT_GT(second, 0);
  // The perplexities are those of the same tokens.
  double nll = 0;
  for (const ProbeResult& result : report.evaluation) nll += result.text.nll_sum;
  ASSERT_TRUE(report.text.has_value());
  EXPECT_DOUBLE_EQ(report.text->candidate.value, std::exp(nll / positions));
  options.uniform = *ParseFormat("f32");
  const EvaluateReport same = MustEvaluate(*model, options);
  EXPECT_EQ(same.text->candidate.value, report.text->reference.value);
  EXPECT_EQ(same.text->candidate.value, same.text->reference.value);
}

// What follows the prompt matters to the completions only.
TEST(TextDivergence, DoesNotDependOnTheCompletions) {
  const ModelWithText model;
  EvaluateOptions options = Evaluation4Bits();
  const EvaluateReport few = MustEvaluate(*model, options);
  options.workspace.probes.completion_tokens = 9;
  const EvaluateReport many = MustEvaluate(*model, options);
  ASSERT_EQ(few.evaluation.size(), many.evaluation.size());
  for (size_t i = 0; i < few.evaluation.size(); ++i) {
    EXPECT_EQ(few.evaluation[i].text, many.evaluation[i].text);
    EXPECT_NE(few.evaluation[i].tokens, many.evaluation[i].tokens);
  }
}

TEST(TextDivergence, IsZeroForWeightsAsTheyAre) {
  const ModelWithText model;
  for (const bool text : {false, true}) {
    EvaluateOptions options = text ? OnText(Evaluation4Bits(), model) : Evaluation4Bits();
    options.uniform = *ParseFormat("f32");  // holds bf16 exactly
    const EvaluateReport report = MustEvaluate(*model, options);
    ASSERT_TRUE(report.text_divergence.has_value());
    EXPECT_EQ(report.text_divergence->kl.value, 0);
    EXPECT_EQ(report.text_divergence->kl.interval.high, 0);
    EXPECT_EQ(report.text_divergence->kl_999->value, 0);
    EXPECT_EQ(report.text_divergence->top1.value, 1);
    EXPECT_EQ(report.text_divergence->top1.interval.low, 1);
  }
}

TEST(TextDivergence, WithoutTextIsAlongTheModelsOwnSamples) {
  const ModelWithText model;
  EvaluateOptions options = Evaluation4Bits();
  const EvaluateReport own = MustEvaluate(*model, options);
  ASSERT_TRUE(own.text_divergence.has_value());
  EXPECT_GT(own.text_divergence->kl.value, 0);
  EXPECT_LE(own.text_divergence->kl.interval.low, own.text_divergence->kl.value);
  EXPECT_GE(own.text_divergence->kl.interval.high, own.text_divergence->kl.value);
  options.workspace.threads = 3;
  EXPECT_EQ(MustEvaluate(*model, options).evaluation, own.evaluation);
}

TEST(TextDivergence, IsLeftOutWhereThereIsNothingToFollow) {
  const ModelWithText model;
  EvaluateOptions options = OnText(Evaluation4Bits(), model);
  options.workspace.probes.prefix_tokens = kPrompt;
  const EvaluateReport report = MustEvaluate(*model, options);
  EXPECT_FALSE(report.text_divergence.has_value());
  EXPECT_FALSE(report.text.has_value());
  options.workspace.probes.prefix_tokens += 1;
  EXPECT_EQ(MustEvaluate(*model, options).evaluation.at(0).text.tokens, 1);
  options.fdt_only = true;
  EXPECT_FALSE(MustEvaluate(*model, options).text_divergence.has_value());
}

TEST(TextDivergence, APlanHoldsWhatAnEvaluationMeasures) {
  const ModelWithText model;
  for (const bool text : {false, true}) {
    PlanOptions options = WindowsJob("greedy");
    if (text) {
      options.workspace.probes.source = ProbeSource::kText;
      options.workspace.probes.path = model.text;
    }
    Progress progress;
    const auto plan = RunPlanJob(*model, options, &progress);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status valid = ValidatePlan(*plan);
    EXPECT_TRUE(valid.ok()) << valid;
    const plans::HeldOut& held_out = plan->held_out();
    ASSERT_TRUE(held_out.has_plan_text() && held_out.has_uniform_text());
    EXPECT_TRUE(held_out.plan_text().has_kl_999() && held_out.uniform_text().has_kl_999());
    ASSERT_FALSE(held_out.uniform_emitted());
    EvaluateOptions evaluate;
    evaluate.workspace = options.workspace;
    evaluate.probe_count = options.held_out_probes;
    evaluate.plan = *plan;
    const EvaluateReport found = MustEvaluate(*model, evaluate);
    EXPECT_EQ(ToProto(*found.text_divergence).SerializeAsString(),
              held_out.plan_text().SerializeAsString());
    evaluate.plan.reset();
    evaluate.uniform = *ParseFormat(held_out.uniform_format());
    const EvaluateReport uniform = MustEvaluate(*model, evaluate);
    EXPECT_EQ(ToProto(*uniform.text_divergence).SerializeAsString(),
              held_out.uniform_text().SerializeAsString());
    EXPECT_EQ(ToProto(PairedInterval(Statistic::kTextKl, found.evaluation, uniform.evaluation))
                  .SerializeAsString(),
              held_out.text_kl_difference().SerializeAsString());
  }
}

// An interruption of the comparison leaves an incomplete plan, and the same job goes on
// to the same bytes, on as many ranks as one likes.
TEST(TextDivergence, InterruptedOrSharedGivesTheSameBytes) {
  const LoadedModel model;
  const TempDir dir;
  PlanOptions options = WindowsJob("uniform");
  CountingProgress whole;
  const auto alone = RunPlanJob(*model, options, &whole);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(alone->held_out().has_plan_text() && alone->held_out().plan_text().has_kl_999());
  const std::string bytes = SerializePlan(*alone);
  int incomplete = 0;
  for (int64_t i = 1; i <= 6; ++i) {
    SCOPED_TRACE(i);
    options.run_dir = dir.File(absl::StrCat("run", i));
    CountingProgress stopped(INT64_MAX, whole.questions() * (17 + i) / 24);
    const auto part = RunPlanJob(*model, options, &stopped);
    incomplete += part.ok() && !part->complete();
    CountingProgress rest;
    const auto resumed = RunPlanJob(*model, options, &rest);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(SerializePlan(*resumed), bytes);
    EXPECT_LT(rest.questions(), whole.questions());
  }
  EXPECT_EQ(incomplete, 6);
  for (const char* run_dir : {"", "run6"}) {
    options.run_dir = *run_dir == 0 ? "" : dir.File(run_dir);
    FakeRanks ranks(2);
    const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
      Progress silent;
      const auto plan = RunPlanJob(*model, options, &silent, rank);
      if (!plan.ok()) return plan.status();
      EXPECT_EQ(SerializePlan(*plan), bytes);
      return absl::OkStatus();
    });
    EXPECT_EQ(statuses, std::vector<absl::Status>(2));
  }
}

}  // namespace
}  // namespace bitbudget
