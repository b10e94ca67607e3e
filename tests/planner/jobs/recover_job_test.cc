#include "planner/jobs/recover_job.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/evaluate_job.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_record.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/recovery_file.h"
#include "plans/plan_io.h"
#include "plans/targets/plan_file.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class RecoverJobTest : public testing::Test {
 protected:
  void SetUp() override {
    plan_ = MakePlan(*model_, {});
    ASSERT_TRUE(plan_.complete());
  }

  static plans::Plan MakePlan(const Model& model, const std::string& text) {
    PlanOptions options = SmallJob("uniform", "400%");
    options.constraints.formats = {*ParseFormat("int2z-g32")};
    options.constraints.pins = {*ParsePin("v_proj|embed=bf16")};
    if (!text.empty()) {
      options.workspace.probes.source = ProbeSource::kText;
      options.workspace.probes.path = text;
    }
    Progress progress;
    absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *std::move(plan) : plans::Plan();
  }

  // A recovery of a fraction of a second.
  RecoverJobOptions Options(const std::string& out) const {
    RecoverJobOptions options;
    options.plan = plan_;
    options.workspace.probes.prefix_tokens = plan_.options().prefix_tokens();
    options.workspace.probes.completion_tokens = plan_.options().completion_tokens();
    options.workspace.plan_folder = dir_.path();
    options.training.steps = 3;
    options.sequences = 16;
    options.held_out_probes = 5;
    options.out = dir_.File(out);
    return options;
  }

  RecoverReport MustRecover(const RecoverJobOptions& options) const {
    Progress progress;
    absl::StatusOr<RecoverReport> report = RunRecoverJob(*model_, options, &progress);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : RecoverReport();
  }

  plans::Metrics Evaluate(const plans::Plan& plan) const {
    EvaluateOptions options;
    options.plan = plan;
    options.workspace = Options("").workspace;
    options.probe_count = 5;
    Progress progress;
    const auto report = RunEvaluateJob(*model_, options, &progress);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? ToProto(report->metrics) : plans::Metrics();
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(dir_.path())) {
      files.push_back(entry.path().filename().string());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  std::string Contents(const std::string& out) const {
    return ReadTestFile(dir_.File(out)) + ReadTestFile(RecoveredFileFor(dir_.File(out)));
  }

  ModelWithText model_;
  TempDir dir_;
  plans::Plan plan_;
};

TEST_F(RecoverJobTest, WritesAPlanOfTheSameFormatsThatIsNotWorse) {
  const RecoverReport report = MustRecover(Options("p.pb"));
  EXPECT_FALSE(report.interrupted);
  EXPECT_EQ(Files(), (std::vector<std::string>{"p.pb", "p.pb.weights.safetensors"}));
  const auto read = ReadPlan(dir_.File("p.pb"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializePlan(*read), SerializePlan(report.plan));

  // All but the codes is the plan that it started from.
  plans::Plan rest = *read;
  rest.clear_recovery();
  for (plans::Component& c : *rest.mutable_components()) {
    EXPECT_EQ(c.encoding_sha256().empty(), c.encoder().empty());
    c.clear_encoding_sha256();
  }
  EXPECT_EQ(SerializePlan(rest), SerializePlan(plan_));

  ASSERT_EQ(read->recovery().passes_size(), 1);
  const plans::RecoveryPass& pass = read->recovery().passes(0);
  EXPECT_TRUE(pass.complete());
  ASSERT_EQ(pass.steps_size(), 1);
  EXPECT_EQ(pass.steps(0).method(), "blockwise");
  EXPECT_GT(pass.steps(0).steps(), 0);
  EXPECT_LT(pass.steps(0).loss_after(), pass.steps(0).loss_before());
  EXPECT_EQ(pass.data().sampled_sequences(), 16);
  EXPECT_EQ(pass.data().kept_aside(), 2);
  EXPECT_EQ(pass.data().tokens(), 16 * 16);
  EXPECT_EQ(pass.held_out().probes(), 5);
}

TEST_F(RecoverJobTest, MeasuresWhatOthersMeasure) {
  const plans::RecoveryEvidence evidence =
      MustRecover(Options("p.pb")).plan.recovery().passes(0).held_out();
  EXPECT_EQ(evidence.before().SerializeAsString(), Evaluate(plan_).SerializeAsString());
  EXPECT_EQ(evidence.after().SerializeAsString(),
            Evaluate(*ReadPlan(dir_.File("p.pb"))).SerializeAsString());
  EXPECT_NE(evidence.before().kl_mean(), evidence.after().kl_mean());
  EXPECT_LE(evidence.kl_difference().low(),
            evidence.after().kl_mean() - evidence.before().kl_mean());
}

TEST_F(RecoverJobTest, GivesTheSameBytesForAnyNumberOfThreads) {
  MustRecover(Options("p.pb"));
  const std::string one = Contents("p.pb");
  RecoverJobOptions options = Options("p.pb");
  options.workspace.threads = 3;
  MustRecover(options);
  EXPECT_EQ(Contents("p.pb"), one);
}

TEST_F(RecoverJobTest, AnInterruptedRecoveryResumesToTheSameBytes) {
  RecoverJobOptions options = Options("p.pb");
  options.training.steps = 6;
  CountingProgress whole;
  ASSERT_TRUE(RunRecoverJob(*model_, options, &whole).ok());
  const std::string expected = Contents("p.pb");
  fs::remove(dir_.File("p.pb"));
  fs::remove(RecoveredFileFor(dir_.File("p.pb")));

  // From the start to the end, wherever it is.
  int none = 0, best = 0;
  const int64_t stride = std::max<int64_t>(1, whole.updates() / 12);
  for (int64_t at = 0; at < whole.updates(); at += stride) {
    SCOPED_TRACE(at);
    CountingProgress stopped(at);
    const auto report = RunRecoverJob(*model_, options, &stopped);
    if (report.ok()) {
      ++best;
      EXPECT_TRUE(report->interrupted);
      const auto plan = ReadPlan(options.out);
      ASSERT_TRUE(plan.ok()) << plan.status();
      EXPECT_FALSE(plan->recovery().passes(0).complete());
      EXPECT_FALSE(plan->recovery().passes(0).has_held_out());
      EXPECT_GT(Evaluate(*plan).dppl(), 0);  // a plan like any other
    } else {
      ++none;
      EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled) << report.status();
      EXPECT_FALSE(fs::exists(options.out));
      EXPECT_FALSE(fs::exists(RecoveredFileFor(options.out)));
    }
    EXPECT_FALSE(MustRecover(options).interrupted);
    EXPECT_EQ(Contents("p.pb"), expected);
    for (const std::string& file : Files()) fs::remove(dir_.File(file));
  }
  EXPECT_GT(none, 0);
  EXPECT_GT(best, 0);
}

TEST_F(RecoverJobTest, ARecoveredPlanIsRecoveredFurther) {
  MustRecover(Options("p.pb"));
  RecoverJobOptions options = Options("q.json");
  options.plan = *ReadPlan(dir_.File("p.pb"));
  options.workspace.probes.seed = 1;
  MustRecover(options);
  const auto plan = ReadPlan(dir_.File("q.json"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->recovery().passes_size(), 2);
  EXPECT_EQ(plan->recovery().passes(0).seed(), 0u);
  EXPECT_EQ(plan->recovery().passes(1).seed(), 1u);
  EXPECT_EQ(plan->recovery().weights_file(), "q.json.weights.safetensors");
  // It started from the codes of the first one, whose file is needed.
  fs::remove(RecoveredFileFor(dir_.File("p.pb")));
  Progress progress;
  ExpectError(RunRecoverJob(*model_, options, &progress).status(),
              absl::StatusCode::kNotFound,
              {"p.pb.weights.safetensors"});
}

TEST_F(RecoverJobTest, TrainsOnTextThatIsNotHeldOut) {
  RecoverJobOptions options = Options("p.pb");
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model_.text;
  const plans::RecoveryPass pass = MustRecover(options).plan.recovery().passes(0);
  EXPECT_EQ(pass.data().text_sequences(), 16);
  EXPECT_EQ(pass.data().sampled_sequences(), 0);
  EXPECT_EQ(pass.data().text_fingerprint(), pass.held_out().probe_fingerprint());
  EXPECT_EQ(pass.held_out().probe_source(), "text");
}

TEST_F(RecoverJobTest, RefusesBeforeAnyWork) {
  const auto refuse = [&](const RecoverJobOptions& options, const std::vector<std::string>& parts) {
    CountingProgress progress;
    ExpectError(RunRecoverJob(*model_, options, &progress).status(), kInvalid, parts);
    EXPECT_EQ(progress.begins(), 0);
    EXPECT_EQ(Files(), std::vector<std::string>());
  };
  RecoverJobOptions options = Options("p.pb");
  options.methods = {"blockwise", "magic"};
  refuse(options, {"magic", "blockwise"});
  options = Options("p.pb");
  options.methods.clear();
  refuse(options, {"no method"});
  options = Options("p.pb");
  options.sequences = 7;
  refuse(options, {"7", "at least 8"});
  options = Options("p.pb");
  options.held_out_probes = 1;
  refuse(options, {"held-out probes is 1"});
  options = Options("p.pb");
  options.training.learning_rate = -1;
  refuse(options, {"learning rate"});
  options = Options("p.pb");
  options.plan.mutable_model()->set_fingerprint(std::string(64, '0'));
  refuse(options, {"another model"});
  options = Options("p.pb");
  for (plans::Component& c : *options.plan.mutable_components()) c.set_format("bf16");
  refuse(options, {"nothing to recover"});
  options = Options("p.pb");
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model_.files.path() + "/short.txt";
  WriteTestFile(options.workspace.probes.path, "short");
  refuse(options, {"short.txt", "too short"});
}

TEST_F(RecoverJobTest, AForeignFileInThePlaceOfTheStateIsLeftAlone) {
  WriteTestFile(dir_.File("p.pb.recovering"), "notes");
  Progress progress;
  ExpectError(RunRecoverJob(*model_, Options("p.pb"), &progress).status(),
              kInvalid,
              {"p.pb.recovering", "move the file away"});
  EXPECT_EQ(Files(), std::vector<std::string>{"p.pb.recovering"});
}

}  // namespace
}  // namespace bitbudget
