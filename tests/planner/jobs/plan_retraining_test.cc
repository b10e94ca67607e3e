#include "planner/jobs/plan_retraining.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/run_directory.h"
#include "plans/plan_io.h"
#include "plans/targets/plan_file.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/training/encoded_model.h"
#include "search/typical_error.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class PlanRetrainingTest : public testing::Test {
 protected:
  // Two rounds, each with training of a fraction of a second.
  PlanOptions Options() const {
    PlanOptions options = SmallJob("sparsify");
    options.limit = *ParseSparsityGoal("30%");
    options.constraints.formats = *ParseFormatList("bf16,bf16+s20,bf16+s40,bf16+s60,removed");
    options.workspace.encoder = "rtn";
    options.retraining = RetrainingSteps{.masked = 8, .unmasked = 2};
    options.out = dir_.File("p.pb");
    return options;
  }

  // The plan, written.
  plans::Plan MustPlan(const PlanOptions& options, Progress* progress = nullptr) const {
    Progress silent;
    const auto plan = RunPlanJob(*model_, options, progress == nullptr ? &silent : progress);
    EXPECT_TRUE(plan.ok()) << plan.status();
    if (!plan.ok()) return plans::Plan();
    const absl::Status written = WritePlan(*plan, options.out);
    EXPECT_TRUE(written.ok()) << written;
    return *plan;
  }

  std::string Contents() const {
    return ReadTestFile(dir_.File("p.pb")) + ReadTestFile(RecoveredFileFor(dir_.File("p.pb")));
  }

  LoadedModel model_;
  TempDir dir_;
};

TEST_F(PlanRetrainingTest, PrunedWeightsAreZeroInTheCodesAndTheOthersAreTrained) {
  const plans::Plan plan = MustPlan(Options());
  const auto codes = ReadRecoveredFile(plan, *model_, dir_.path(), 1);
  ASSERT_TRUE(codes.ok()) << codes.status();
  const auto encoder = MakeRtnEncoder();
  int64_t sparse = 0, moved = 0, kept = 0;
  for (const auto& [id, part] : codes->parts()) {
    const Component& component = (*model_).component(id);
    const auto* begin = reinterpret_cast<const uint8_t*>(part.bytes.data());
    const Encoding encoding{part.format,
                            component.rows,
                            component.cols,
                            std::vector<uint8_t>(begin, begin + part.bytes.size())};
    std::vector<float> trained(component.rows * component.cols), original(trained.size());
    DecodeReference(encoding, trained);
    DecodeReference(*encoder->Encode((*model_).Weight(id), kFormatF32), original);
    const auto zeros = std::count(trained.begin(), trained.end(), 0.0f);
    const auto size = static_cast<int64_t>(trained.size());
    EXPECT_GE(zeros * 1000 + 500, SparsityPermille(part.format) * size) << component.name;
    if (!part.format.IsSparse()) continue;
    ++sparse;
    for (size_t i = 0; i < trained.size(); ++i) {
      if (trained[i] == 0) continue;
      ++kept;
      moved += trained[i] != original[i];
    }
  }
  EXPECT_GT(sparse, 0);
  EXPECT_GT(moved, kept * 9 / 10);
}

TEST_F(PlanRetrainingTest, ThePlanIsARecoveredOneWhoseEvidenceIsOfTheTrainedCodes) {
  const plans::Plan plan = MustPlan(Options());
  EXPECT_TRUE(plan.complete());
  EXPECT_EQ(plan.options().method().retrain_masked(), 8);
  EXPECT_EQ(plan.options().method().retrain_unmasked(), 2);
  ASSERT_EQ(plan.recovery().passes_size(), 1);
  const plans::RecoveryPass& pass = plan.recovery().passes(0);
  EXPECT_TRUE(pass.complete());
  EXPECT_EQ(pass.steps_size(), plan.search().rounds());
  EXPECT_EQ(pass.data().sampled_sequences(), RetrainingSequences({8, 2}));
  EXPECT_EQ(pass.held_out().after().SerializeAsString(),
            plan.held_out().plan().SerializeAsString());
  // Other commands take the codes.
  WorkspaceOptions options = Options().workspace;
  options.plan_folder = dir_.path();
  Progress progress;
  const auto planned = OpenPlannedModel(*model_, &plan, options, 16, "", &progress);
  EXPECT_TRUE(planned.ok()) << planned.status();
}

TEST_F(PlanRetrainingTest, TextKlIsBelowThatWithoutTraining) {
  PlanOptions options = Options();
  options.workspace.probes.prefix_tokens = 20;  // prompts have tokens behind the 16th
  const plans::Plan plan = MustPlan(options);
  const plans::RecoveryEvidence& held_out = plan.recovery().passes(0).held_out();
  ASSERT_TRUE(held_out.has_text_before());
  EXPECT_LT(held_out.text_after().kl_mean(), held_out.text_before().kl_mean());
  EXPECT_LT(held_out.after().kl_mean(), held_out.before().kl_mean());
  EXPECT_EQ(held_out.text_after().SerializeAsString(),
            plan.held_out().plan_text().SerializeAsString());
}

// With the original weights in the second round, its training would start from what the original
// weights lose.
TEST_F(PlanRetrainingTest, TheSecondRoundPrunesTheWeightsThatTheFirstOneTrained) {
  const PlanOptions options = Options();
  const plans::Plan plan = MustPlan(options);
  ASSERT_EQ(plan.search().rounds(), 2);
  const auto& steps = plan.recovery().passes(0).steps();
  ASSERT_LT(steps[0].loss_after(), steps[0].loss_before());

  const auto maker = *ProbeMaker::Create(*model_, options.workspace.probes);
  const auto workspace = *Workspace::Create(*model_, options.workspace, 16);
  Progress progress;
  const TrainingData data = *MakeTrainingData(
      *maker, RetrainingSequences(*options.retraining), workspace.get(), &progress);
  const Assignment assignment = *AssignmentOfPlan(plan, *model_);
  ComponentEncodings untrained;
  for (size_t c = 0; c < assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    if (assignment[c] == (*model_).Weight(id).format) continue;
    untrained[id] = *workspace->bank()->Encoded({id, assignment[c]});
  }
  const auto original = *OriginalOutputs::Create(*model_, data.sequences.kept_aside, 1, &progress);
  const double loss = *MeanDivergence(*model_,
                                      {untrained},
                                      data.sequences.kept_aside,
                                      *original,
                                      TokenBits(options.workspace.activations),
                                      1,
                                      &progress);
  EXPECT_LT(steps[1].loss_before(), loss);

  // And the search measures them: the same masks, another divergence.
  ASSERT_EQ(plan.search().trace_size(), 5);
  EXPECT_EQ(plan.search().trace(2).what(), "retrained");
  EXPECT_LT(plan.search().trace(2).kl_mean(), plan.search().trace(1).kl_mean());
}

TEST_F(PlanRetrainingTest, GivesTheSameBytesForAnyNumberOfThreads) {
  MustPlan(Options());
  const std::string one = Contents();
  PlanOptions options = Options();
  options.workspace.threads = 3;
  MustPlan(options);
  EXPECT_TRUE(Contents() == one);
}

// Counts steps of training.
class TrainingSteps final : public Progress {
 public:
  void Begin(absl::string_view phase, int64_t) override {
    trains_ = absl::StartsWith(phase, "round ") && absl::StrContains(phase, " of ");
  }
  void Update(int64_t, absl::string_view) override { steps_ += trains_; }
  int64_t steps() const { return steps_; }

 private:
  bool trains_ = false;
  int64_t steps_ = 0;
};

TEST_F(PlanRetrainingTest, StoppedAnywhereItResumesToTheSameBytes) {
  PlanOptions options = Options();
  CountingProgress whole;
  MustPlan(options, &whole);
  const std::string expected = Contents();
  options.run_dir = dir_.File("run");
  int with_codes = 0;
  const int64_t stride = std::max<int64_t>(1, whole.updates() / 9);
  for (int64_t at = stride / 2; at < whole.updates(); at += stride) {
    SCOPED_TRACE(at);
    fs::remove_all(options.run_dir);
    fs::remove(options.out);
    fs::remove(RecoveredFileFor(options.out));
    CountingProgress stopped(at);
    const auto plan = RunPlanJob(*model_, options, &stopped);
    if (plan.ok()) {
      EXPECT_FALSE(plan->complete());
      EXPECT_TRUE(WritePlan(*plan, options.out).ok());
      // The best so far is a plan that runs.
      EXPECT_EQ(plan->has_recovery(), fs::exists(RecoveredFileFor(options.out)));
      if (plan->has_recovery()) {
        ++with_codes;
        EXPECT_FALSE(plan->recovery().passes(0).complete());
        EXPECT_TRUE(ReadRecoveredFile(*plan, *model_, dir_.path(), 1).ok());
      }
    } else {
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kCancelled) << plan.status();
    }
    MustPlan(options);
    EXPECT_TRUE(Contents() == expected);
  }
  EXPECT_GT(with_codes, 0);
  // All rounds are kept: no step is taken again.
  TrainingSteps again;
  MustPlan(options, &again);
  EXPECT_TRUE(Contents() == expected);
  EXPECT_EQ(again.steps(), 0);
  // A matrix that the run has lost is trained again.
  const std::string file = absl::StrCat(ListStores(options.run_dir).at(0), "/", kRunStoreFile);
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &connection), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(connection,
                         "DELETE FROM blobs WHERE key = (SELECT min(key) FROM blobs "
                         "WHERE key LIKE 'retrained/%/%')",
                         nullptr,
                         nullptr,
                         nullptr),
            SQLITE_OK);
  EXPECT_EQ(sqlite3_changes(connection), 1);
  sqlite3_close(connection);
  TrainingSteps one_round;
  MustPlan(options, &one_round);
  EXPECT_TRUE(Contents() == expected);
  EXPECT_EQ(one_round.steps(), 8 + 2);
  options.run_dir.clear();
  TrainingSteps anew;
  MustPlan(options, &anew);
  EXPECT_GE(anew.steps(), 2 * (8 + 2));
}

TEST_F(PlanRetrainingTest, RefusesBeforeAnyWork) {
  const auto refuse = [&](const PlanOptions& options, const std::vector<std::string>& parts) {
    CountingProgress progress;
    ExpectError(RunPlanJob(*model_, options, &progress).status(), kInvalid, parts);
    EXPECT_EQ(progress.begins(), 0);
    EXPECT_FALSE(fs::exists(RecoveredFileFor(options.out)));
  };
  PlanOptions options = Options();
  options.constraints.formats = *ParseFormatList("int4-g32,int4-g32+s50");
  refuse(options, {"int4-g32", "cannot be retrained", "bf16+s50"});
  options = Options();
  options.retraining->masked = -1;
  refuse(options, {"-1 masked"});
  options = Options();
  options.search = "uniform";
  refuse(options, {"uniform has no rounds", "sparsify"});
}

}  // namespace
}  // namespace bitbudget
