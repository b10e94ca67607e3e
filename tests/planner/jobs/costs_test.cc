// Plans whose candidates are predicted from costs of a scorer, and layers that go by them.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "planner/jobs/planned_model.h"
#include "planner/jobs/score_job.h"
#include "plans/plan_io.h"
#include "plans/validate.h"
#include "runtime/quantize/clip_encoder.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

plans::Plan MustPlan(const Model& model, const PlanOptions& options) {
  Progress progress;
  absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
  EXPECT_TRUE(plan.ok()) << plan.status();
  if (!plan.ok()) return plans::Plan();
  EXPECT_TRUE(ValidatePlan(*plan).ok()) << ValidatePlan(*plan);
  return *std::move(plan);
}

TEST(CostsTest, PlansSayWhatTheyWerePredictedFromAndStoresKeepCostsApart) {
  const LoadedModel model;
  PlanOptions options = SmallJob("greedy");
  options.costs = PlanOptions::kOutputError;
  const plans::Plan by_errors = MustPlan(*model, options);
  EXPECT_FALSE(by_errors.options().has_method());
  const TempDir directory;
  for (const char* costs : {"kfac", "fisher", "first-order", "weighted-error", "linearity"}) {
    options.costs = costs;
    options.run_dir.clear();
    options.workspace.threads = 1;
    const plans::Plan plan = MustPlan(*model, options);
    EXPECT_EQ(plan.options().method().costs(), costs);
    int estimates = 0;
    for (const plans::Component& component : plan.components()) {
      for (const plans::FormatEvidence& evidence : component.evidence()) {
        EXPECT_EQ(evidence.output_error(), 0);
        EXPECT_TRUE(evidence.has_estimate());
        estimates += evidence.estimate() > 0;
      }
    }
    EXPECT_GT(estimates, 0);
    options.workspace.threads = 3;
    options.run_dir = directory.path() + "/run";
    EXPECT_EQ(SerializePlan(MustPlan(*model, options)), SerializePlan(plan));
    EXPECT_EQ(SerializePlan(MustPlan(*model, options)), SerializePlan(plan));
  }
  options.costs = PlanOptions::kOutputError;
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), SerializePlan(by_errors));
  options.costs = "lim";
  ExpectError(options.Validate(), absl::StatusCode::kInvalidArgument, {"'lim'", "kfac", "fisher"});
}

TEST(CostsTest, AdditiveRunsItsResultAlone) {
  const LoadedModel model;
  PlanOptions options = SmallJob("additive");
  options.costs = "kfac";
  const plans::Plan plan = MustPlan(*model, options);
  EXPECT_EQ(plan.search().candidates(), 1);
  for (const plans::Component& component : plan.components()) {
    for (const plans::FormatEvidence& evidence : component.evidence()) {
      EXPECT_EQ(evidence.kl_mean(), 0);  // not measured
      EXPECT_TRUE(evidence.has_estimate());
    }
  }
}

TEST(CostsTest, LayersAreOrderedByTheirCosts) {
  const LoadedModel model;
  PlanOptions options = SmallJob("layerwise");
  options.scorer = "kfac";
  const plans::Plan plan = MustPlan(*model, options);
  EXPECT_EQ(plan.options().scorer(), "kfac");
  options.workspace.threads = 3;
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), SerializePlan(plan));
}

TEST(CostsTest, APlanPrunedByFisherIsMadeAgainFromItsText) {
  const ModelWithText model;
  PlanOptions options = SmallJob("uniform", "100%");
  options.constraints.formats = {*ParseFormat("bf16+s50")};
  options.workspace.pruning = Pruning::kFisher;
  options.workspace.probes.seed = 7;  // which the plan alone says later
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  const plans::Plan plan = MustPlan(*model, options);
  EXPECT_EQ(plan.options().pruning(), "fisher");
  EXPECT_GT(plan.calibration().sequences(), 0);
  options.workspace.threads = 3;
  options.workspace.memory_bytes = int64_t{1} << 30;
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), SerializePlan(plan));

  Progress progress;
  const auto planned =
      OpenPlannedModel(*model, &plan, WorkspaceOptions(), 16, model.text, &progress);
  ASSERT_TRUE(planned.ok()) << planned.status();
  std::vector<std::vector<uint8_t>> bytes[2];
  for (ComponentId id = 0; id < static_cast<ComponentId>(planned->assignment.size()); ++id) {
    // Refuses any but the plan's hash.
    const auto encoding = planned->workspace->bank()->Encoded({id, planned->assignment[id]});
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    const auto by_magnitude =
        MakeClipEncoder()->Encode((*model).Weight(id), planned->assignment[id], {}, 1);
    bytes[0].push_back(encoding->bytes);
    bytes[1].push_back(by_magnitude->bytes);
  }
  EXPECT_NE(bytes[0], bytes[1]);
  EXPECT_EQ(bytes[0][0], bytes[1][0]);  // rows that are looked up
  ExpectError(OpenPlannedModel(*model, &plan, WorkspaceOptions(), 16, "", &progress).status(),
              absl::StatusCode::kInvalidArgument,
              {"pruning by fisher", "text file"});
}

TEST(CostsTest, AScoreCostsTheFormatsThatWereAskedFor) {
  const ModelWithText model;
  ScoreOptions options;
  options.scorer = "kfac";
  options.formats = {{FormatKind::kInteger, 3, 32, false}, {FormatKind::kInteger, 8, 32, false}};
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  options.workspace.probes.prefix_tokens = 6;
  options.workspace.probes.completion_tokens = 10;
  Progress progress;
  const auto scores = RunScoreJob(*model, options, &progress);
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->costs.size(), (*model).components().size());
  for (const std::vector<double>& costs : scores->costs) {
    ASSERT_EQ(costs.size(), 2u);
    EXPECT_GT(costs[0], costs[1]);
    EXPECT_GT(costs[1], 0);
  }
  options.formats.clear();
  ExpectError(options.Validate(), absl::StatusCode::kInvalidArgument, {"no formats"});
}

}  // namespace
}  // namespace bitbudget
