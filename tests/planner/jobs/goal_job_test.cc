#include "planner/jobs/goal_job.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/plan_record.h"
#include "plans/plan_io.h"
#include "plans/validate.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

GoalOptions SmallGoal(const std::string& goal) {
  GoalOptions options;
  options.plan = SmallJob("greedy");
  options.plan.workspace.probes.prefix_tokens = 24;
  options.plan.held_out_probes = 12;
  options.goal = *ParseQualityGoal(goal);
  return options;
}

absl::StatusOr<plans::Plan> Find(const Model& model, const GoalOptions& options) {
  Progress progress;
  return RunGoalJob(model, options, &progress);
}

plans::Plan MustFind(const Model& model, const GoalOptions& options) {
  absl::StatusOr<plans::Plan> plan = Find(model, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  if (!plan.ok()) return plans::Plan();
  EXPECT_TRUE(ValidatePlan(*plan).ok()) << ValidatePlan(*plan);
  return *std::move(plan);
}

// A bound that a plan of this budget just meets.
double ReachedBy(const Model& model, const std::string& budget, GoalOptions options) {
  options.plan.limit = *ParseBudget(budget);
  Progress progress;
  const absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options.plan, &progress);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? plan->held_out().plan_text().kl_interval().high() : 1;
}

TEST(GoalJobTest, ThePlanMeetsTheGoalAndTheNextSmallerDoesNot) {
  const LoadedModel model;
  const double bound = ReachedBy(*model, "7bpw", SmallGoal("text_kl<=1"));
  const plans::Plan plan = MustFind(*model, SmallGoal(absl::StrCat("text_kl<=", bound)));
  const plans::Goal& goal = plan.goal();
  EXPECT_EQ(plan.budget().requested(), goal.requested());
  EXPECT_LE(goal.interval().high(), goal.bound());
  EXPECT_NEAR(goal.margin(), 1 - goal.interval().high() / goal.bound(), 1e-9);
  const plans::TextDivergence& text = plan.held_out().uniform_emitted()
                                          ? plan.held_out().uniform_text()
                                          : plan.held_out().plan_text();
  EXPECT_EQ(goal.value(), text.kl_mean());
  EXPECT_EQ(goal.interval().high(), text.kl_interval().high());
  // From the first that meets it, sizes fall until one misses it; the plan is the one before.
  ASSERT_GE(goal.trials_size(), 2);
  EXPECT_FALSE(goal.trials(goal.trials_size() - 1).met());
  const plans::GoalTrial& chosen = goal.trials(goal.trials_size() - 2);
  EXPECT_TRUE(chosen.met());
  // Trials are of the held-out probes, not of those that the search has seen.
  EXPECT_EQ(chosen.value(), plan.held_out().plan_text().kl_mean());
  EXPECT_EQ(chosen.interval().high(), plan.held_out().plan_text().kl_interval().high());
  EXPECT_LT(goal.trials(goal.trials_size() - 1).size_bytes(), chosen.size_bytes());
  EXPECT_LE(PlanSizeBytes(plan), chosen.size_bytes());
  // Near the plan that the bound was taken from.
  EXPECT_NEAR(PlanBitsPerWeight(plan), 7, 1.0);
}

TEST(GoalJobTest, TheSamePlanForAnyThreadsAndFromARun) {
  const LoadedModel model;
  const TempDir directory;
  GoalOptions options = SmallGoal("fdt>=3");
  options.plan.workspace.threads = 1;
  const std::string plan = SerializePlan(MustFind(*model, options));
  options.plan.workspace.threads = 3;
  options.plan.run_dir = directory.path() + "/run";
  EXPECT_EQ(SerializePlan(MustFind(*model, options)), plan);
  EXPECT_EQ(SerializePlan(MustFind(*model, options)), plan);
}

TEST(GoalJobTest, GoalsThatAllPlansMeetTakeTheSmallest) {
  const LoadedModel model;
  GoalOptions options = SmallGoal("text_kl<=50");
  options.plan.constraints.formats = {*ParseFormat("int4-g64"), *ParseFormat("int8")};
  const plans::Plan plan = MustFind(*model, options);
  for (const plans::Component& component : plan.components()) {
    EXPECT_EQ(component.format(), "int4-g64");
  }
  for (const plans::GoalTrial& trial : plan.goal().trials()) EXPECT_TRUE(trial.met());
}

TEST(GoalJobTest, WhatNoPlanMeetsIsSaidWithTheBestThatWasReached) {
  const LoadedModel model;
  GoalOptions options = SmallGoal("text_kl<=1e-7");
  options.plan.constraints.formats = {*ParseFormat("int4-g64"), *ParseFormat("int8")};
  const absl::Status status = Find(*model, options).status();
  EXPECT_TRUE(IsInfeasible(status)) << status;
  ExpectError(status, absl::StatusCode::kInvalidArgument, {"text_kl<=1e-7", "bytes", "held-out"});
}

TEST(GoalJobTest, ThreatsToAGoalAreSaidAheadOfWork) {
  const LoadedModel model;
  ExpectError(Find(*model, SmallGoal("fdt>=10")).status(),
              absl::StatusCode::kInvalidArgument,
              {"fdt>=10", "10 tokens"});
  GoalOptions options = SmallGoal("text_kl<=0.01");
  options.plan.workspace.probes.prefix_tokens = 12;
  ExpectError(
      Find(*model, options).status(), absl::StatusCode::kInvalidArgument, {"text_kl", "16"});
  options = SmallGoal("kl<=0.01");
  options.plan.budget_scope.context = 512;
  ExpectError(options.Validate(), absl::StatusCode::kInvalidArgument, {"memory"});
  options = SmallGoal("kl<=0.01");
  options.plan.retraining = RetrainingSteps{1, 1};
  ExpectError(options.Validate(), absl::StatusCode::kInvalidArgument, {"retraining"});
}

TEST(GoalJobTest, AnInterruptionLeavesNoPlanAndTheRunGoesOn) {
  const LoadedModel model;
  const TempDir directory;
  GoalOptions options = SmallGoal("text_kl<=0.005");
  options.plan.run_dir = directory.path() + "/run";
  int64_t updates = 3;
  absl::StatusOr<plans::Plan> plan = absl::CancelledError();
  for (; absl::IsCancelled(plan.status()); updates *= 2) {
    CountingProgress progress(updates);
    plan = RunGoalJob(*model, options, &progress);
    ASSERT_LT(updates, 1 << 20);
  }
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_GT(updates, 6);  // it was interrupted
  options.plan.run_dir.clear();
  EXPECT_EQ(SerializePlan(*plan), SerializePlan(MustFind(*model, options)));
}

}  // namespace
}  // namespace bitbudget
