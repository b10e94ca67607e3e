#include "planner/jobs/evaluate_job.h"

#include <gtest/gtest.h>

#include <string>

#include "planner/jobs/plan_record.h"
#include "planner/workspace/workspace.h"
#include "plans/validate.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

EvaluateOptions SameProbes(const PlanOptions& options) {
  EvaluateOptions evaluate;
  evaluate.workspace = options.workspace;
  evaluate.probe_count = options.held_out_probes;
  return evaluate;
}

EvaluateReport MustEvaluate(const Model& model, const EvaluateOptions& options) {
  Progress progress;
  absl::StatusOr<EvaluateReport> report = RunEvaluateJob(model, options, &progress);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *std::move(report) : EvaluateReport();
}

// Bitwise: the same probes run through the same kernels.
void ExpectSame(const google::protobuf::MessageLite& a, const google::protobuf::MessageLite& b) {
  EXPECT_EQ(a.SerializeAsString(), b.SerializeAsString());
}

void ExpectEvaluationRepeatsThePlan(const Model& model, const PlanOptions& options) {
  Progress progress;
  const absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const plans::HeldOut& held_out = plan->held_out();
  EvaluateOptions evaluate = SameProbes(options);
  evaluate.plan = *plan;
  evaluate.workspace.threads = 2;
  const EvaluateReport report = MustEvaluate(model, evaluate);
  ExpectSame(ToProto(report.metrics),
             held_out.uniform_emitted() ? held_out.uniform() : held_out.plan());
  ExpectSame(ToProto(report.noise_floor), held_out.noise_floor());
  EXPECT_FALSE(report.text_divergence.has_value()) << "windows of 16 tokens";
  EXPECT_EQ(report.size_bytes, PlanSizeBytes(*plan));
  EXPECT_EQ(report.bits_per_weight, PlanBitsPerWeight(*plan));
  EXPECT_EQ(report.completion_tokens, plan->options().completion_tokens());
  EXPECT_EQ(static_cast<int64_t>(report.probes.size()), plan->options().held_out_probes());
  EXPECT_EQ(report.evaluation.size(), report.probes.size());

  evaluate.plan.reset();
  evaluate.uniform = *ParseFormat(held_out.uniform_format());
  const EvaluateReport uniform = MustEvaluate(model, evaluate);
  ExpectSame(ToProto(uniform.metrics), held_out.uniform());
  EXPECT_EQ(uniform.size_bytes, held_out.uniform_size_bytes());

  ASSERT_EQ(report.text.has_value(), held_out.has_text());
  if (!held_out.has_text()) return;
  EXPECT_EQ(report.text->reference.value, held_out.text().reference());
  EXPECT_EQ(report.text->candidate.value, held_out.text().plan());
  ExpectSame(ToProto(report.text->candidate.interval), held_out.text().plan_interval());
  EXPECT_EQ(uniform.text->candidate.value, held_out.text().uniform());
}

TEST(RunEvaluateJob, RepeatsThePlansHeldOutMetrics) {
  const LoadedModel model;
  for (const char* search : {"greedy", "layerwise", "random"}) {
    PlanOptions options = SmallJob(search);
    options.workspace.probes.seed = 5;
    ExpectEvaluationRepeatsThePlan(*model, options);
  }
  PlanOptions options = SmallJob("additive", "7bpw");
  options.workspace.encoder = "rtn";
  options.workspace.activations = Activations::kF32;
  ExpectEvaluationRepeatsThePlan(*model, options);
}

TEST(RunEvaluateJob, RepeatsThePlansPerplexityOfText) {
  const ModelWithText model;
  PlanOptions options = SmallJob("uniform");
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  ExpectEvaluationRepeatsThePlan(*model, options);
}

TEST(RunEvaluateJob, TheStoredFormatIsTheReference) {
  const LoadedModel model;
  EvaluateOptions options = SameProbes(SmallJob("uniform"));
  options.uniform = kFormatBF16;
  const EvaluateReport report = MustEvaluate(*model, options);
  EXPECT_EQ(report.size_bytes, (*model).stored_bytes());
  EXPECT_EQ(report.bits_per_weight, 16);
  for (const ProbeResult& probe : report.evaluation) {
    EXPECT_EQ(probe.fdt, probe.tokens);
    EXPECT_EQ(probe.sdt, 0);
    EXPECT_EQ(probe.kl_sum, 0);
  }
}

TEST(RunEvaluateJob, DoesNotDependOnThreads) {
  const LoadedModel model;
  EvaluateOptions options = SameProbes(SmallJob("uniform"));
  options.uniform = *ParseFormat("int4-g32");
  const EvaluateReport one = MustEvaluate(*model, options);
  for (const int threads : {2, 4}) {
    options.workspace.threads = threads;
    const EvaluateReport more = MustEvaluate(*model, options);
    EXPECT_EQ(more.evaluation, one.evaluation);
    ExpectSame(ToProto(more.metrics), ToProto(one.metrics));
  }
}

TEST(RunEvaluateJob, AnInterruptionIsCancelled) {
  const LoadedModel model;
  EvaluateOptions options = SameProbes(SmallJob("uniform"));
  options.workspace.probes.completion_tokens = 12;  // windows of 18
  options.uniform = *ParseFormat("int8");
  CountingProgress whole;
  ASSERT_TRUE(RunEvaluateJob(*model, options, &whole).ok());
  for (int64_t question = 0; question < whole.questions(); question += 3) {
    CountingProgress progress(INT64_MAX, question);
    const absl::Status status = RunEvaluateJob(*model, options, &progress).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << question << ": " << status;
  }
}

TEST(RunEvaluateJob, PinsChangeWhatIsEvaluated) {
  const LoadedModel model;
  Progress progress;
  EvaluateOptions options = SameProbes(SmallJob("uniform"));
  const auto report = [&] {
    const auto result = RunEvaluateJob(*model, options, &progress);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  };
  options.pins = {*ParsePin(".=int8")};
  const EvaluateReport pinned = report();
  options.pins.clear();
  options.uniform = *ParseFormat("int8");
  EXPECT_EQ(report().evaluation, pinned.evaluation);
  EXPECT_EQ(report().size_bytes, pinned.size_bytes);
  options.pins = {*ParsePin("down_proj=int4-g32"), *ParsePin("layers.1.*down_proj=int8")};
  const EvaluateReport mixed = report();
  EXPECT_NE(mixed.evaluation, pinned.evaluation);
  EXPECT_LT(mixed.size_bytes, pinned.size_bytes);
  options.uniform.reset();
  options.pins = {*ParsePin("layers.0.*q_proj=int8")};
  EXPECT_GT(report().size_bytes, pinned.size_bytes) << "the rest is as stored";
}

TEST(RunEvaluateJob, RefusesWhatItCannotEvaluate) {
  const LoadedModel model;
  Progress progress;
  EvaluateOptions options = SameProbes(SmallJob("uniform"));
  const auto refusal = [&] { return RunEvaluateJob(*model, options, &progress).status(); };
  ExpectError(refusal(), kInvalid, {"a plan, a uniform format or pinned components"});
  options.pins = {*ParsePin("nothing_like_it=int8")};
  ExpectError(refusal(), kInvalid, {"nothing_like_it", "matches no component"});
  options.pins.clear();
  options.uniform = *ParseFormat("int8");
  options.probe_count = 1;
  ExpectError(refusal(), kInvalid, {"the number of probes is 1"});
  options.probe_count = 2;
  options.workspace.threads = 0;
  ExpectError(refusal(), kInvalid, {"the number of threads is 0"});
  options.workspace.threads = 1;
  options.workspace.encoder = "magic";
  ExpectError(refusal(), kInvalid, {"magic"});
  options.workspace.encoder = "clip";

  const LoadedModel other(SmallModelOptions(/*seed=*/2));
  const absl::StatusOr<plans::Plan> plan = RunPlanJob(*other, SmallJob("uniform"), &progress);
  ASSERT_TRUE(plan.ok()) << plan.status();
  options.plan = *plan;
  ExpectError(refusal(), kInvalid, {"a plan, a uniform format or a file, one of them"});
  options.uniform.reset();
  ExpectError(refusal(), kInvalid, {"another model"});
}

TEST(RunEvaluateJob, FdtOnlyIsTheFdtOfAWholeEvaluation) {
  const LoadedModel model;
  Progress progress;
  EvaluateOptions options;
  options.uniform = *ParseFormat("int4-g32");
  options.workspace.probes.prefix_tokens = 6;
  options.workspace.probes.completion_tokens = 10;
  options.probe_count = 9;
  const auto whole = RunEvaluateJob(*model, options, &progress);
  options.fdt_only = true;
  const auto fdt = RunEvaluateJob(*model, options, &progress);
  ASSERT_TRUE(whole.ok() && fdt.ok());
  for (size_t i = 0; i < whole->evaluation.size(); ++i) {
    EXPECT_EQ(fdt->evaluation[i].fdt, whole->evaluation[i].fdt);
    EXPECT_EQ(fdt->evaluation[i].tokens, whole->evaluation[i].tokens);
  }
  EXPECT_EQ(fdt->metrics.fdt_mean.value, whole->metrics.fdt_mean.value);
  EXPECT_EQ(fdt->metrics.fdt_75.interval.high, whole->metrics.fdt_75.interval.high);
}

}  // namespace
}  // namespace bitbudget
