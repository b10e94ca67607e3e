#include "planner/jobs/staged_progress.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/base/progress.h"

namespace bitbudget {
namespace {

// Keeps what it was told of the job.
class Kept : public Progress {
 public:
  void Overall(const OverallProgress* job) override {
    ended = job == nullptr;
    if (job == nullptr) return;
    last = *job;
    name = std::string(job->name);
    falls |= job->share < highest;
    highest = job->share;
  }

  OverallProgress last;
  std::string name;
  double highest = 0;
  bool falls = false;
  bool ended = false;
};

// 2 passes of probes, 4 of costs, up to 6 rounds of 1, 3 of a comparison.
PlanWork SomeWork() {
  PlanWork work;
  work.stages.push_back({"probes", {{.phases = {"reference"}, .passes = 2}}});
  work.stages.push_back(
      {"costs", {{.phases = {"gradients"}, .kind = WorkKind::kCosts, .passes = 4}}});
  PhaseWork rounds{.phases = {"start", "round *"}};
  rounds.passes = 1;
  rounds.times = 6;
  rounds.by_step = rounds.limit = true;
  work.stages.push_back({"search", {rounds}});
  work.stages.push_back({"comparison", {{.phases = {"held-out comparison"}, .passes = 3}}});
  return work;
}

class StagedProgressTest : public testing::Test {
 protected:
  StagedProgress Make(double pass_seconds = 1) {
    return StagedProgress(SomeWork(), pass_seconds, &kept_, [this] { return now_s_; });
  }
  // A phase whose steps take a second each.
  void Run(StagedProgress* progress, const char* phase, int64_t steps, double step_s = 1) {
    progress->Begin(phase, steps);
    for (int64_t i = 1; i <= steps; ++i) {
      now_s_ += step_s;
      progress->Update(i, "");
    }
    progress->End();
  }

  Kept kept_;
  double now_s_ = 100;
};

TEST_F(StagedProgressTest, TellsOfAllWorkBeforeTheFirstPhase) {
  StagedProgress progress = Make(2);
  EXPECT_EQ(kept_.last.stage, 1);
  EXPECT_EQ(kept_.last.stages, 4);
  EXPECT_EQ(kept_.name, "probes");
  EXPECT_EQ(kept_.last.share, 0);
  EXPECT_EQ(kept_.last.total_passes, 15);
  EXPECT_NEAR(kept_.last.seconds_left, 30, 1e-9);
}

TEST_F(StagedProgressTest, ThePhaseDecidesTheStage) {
  StagedProgress progress = Make();
  Run(&progress, "reference", 4);
  EXPECT_NEAR(kept_.last.passes, 2, 1e-9);
  progress.Begin("gradients", 8);
  progress.Update(2, "");
  EXPECT_EQ(kept_.name, "costs");
  EXPECT_NEAR(kept_.last.passes, 3, 1e-9);
  progress.Within(2);
  EXPECT_NEAR(kept_.last.passes, 4, 1e-9);
  progress.Begin("something else", 5);
  EXPECT_EQ(kept_.name, "costs");
}

TEST_F(StagedProgressTest, TheShareNeverFallsAndEndsAtOne) {
  {
    StagedProgress progress = Make();
    Run(&progress, "reference", 1);
    Run(&progress, "gradients", 10);
    Run(&progress, "start", 1);
    Run(&progress, "round 1", 9);  // more than the limit
    Run(&progress, "round 2", 2);
    EXPECT_LE(kept_.last.passes, 12);
    Run(&progress, "gradients", 3);  // once more than there is work for
    Run(&progress, "held-out comparison", 3);
    progress.Finish();
    EXPECT_EQ(kept_.last.share, 1);
    EXPECT_EQ(kept_.last.seconds_left, 0);
    EXPECT_FALSE(kept_.falls);
    EXPECT_FALSE(kept_.ended);
  }
  EXPECT_TRUE(kept_.ended);
}

TEST_F(StagedProgressTest, RoundsThatAreNotNeededShrinkTheTotal) {
  StagedProgress progress = Make();
  Run(&progress, "reference", 1);
  Run(&progress, "gradients", 1);
  Run(&progress, "start", 1);
  Run(&progress, "round 1", 1);
  EXPECT_NEAR(kept_.last.total_passes, 15, 1e-9);
  progress.Begin("held-out comparison", 3);
  EXPECT_NEAR(kept_.last.total_passes, 11, 1e-9);
  EXPECT_NEAR(kept_.last.passes, 8, 1e-9);
}

TEST_F(StagedProgressTest, APhaseOfAJobIsNoneOfALaterOne) {
  PlanWork work = SomeWork();
  work.stages[2].job = 0;
  work.stages.insert(work.stages.begin() + 3, work.stages[2]);
  work.stages[3].name = "second search";
  work.stages[3].job = 1;
  StagedProgress progress(work, 1, &kept_, [this] { return now_s_; });
  Run(&progress, "reference", 1);
  progress.BeginJob(0);
  EXPECT_EQ(kept_.name, "search");
  EXPECT_NEAR(kept_.last.passes, 6, 1e-9);  // costs were recalled
  Run(&progress, "round 1", 8);             // more than the limit
  Run(&progress, "round 2", 1);
  EXPECT_EQ(kept_.name, "search");
  EXPECT_NEAR(kept_.last.passes, 12, 1e-9);
  progress.BeginJob(1);
  EXPECT_EQ(kept_.name, "second search");
  Run(&progress, "start", 1);
  EXPECT_NEAR(kept_.last.passes, 13, 1e-9);
  EXPECT_NEAR(kept_.last.total_passes, 21, 1e-9);
  progress.Begin("held-out comparison", 1);
  EXPECT_NEAR(kept_.last.total_passes, 16, 1e-9);
  EXPECT_FALSE(kept_.falls);
}

TEST_F(StagedProgressTest, WhatWasRecalledIsDoneAndTellsNothingOfTheSpeed) {
  StagedProgress progress = Make(1);
  progress.Begin("start", 1);  // neither probes nor costs
  EXPECT_NEAR(kept_.last.passes, 6, 1e-9);
  progress.Update(1, "");
  progress.End();
  Run(&progress, "round 1", 2, 0.001);
  EXPECT_NEAR(kept_.last.passes, 9, 1e-9);
  EXPECT_NEAR(kept_.last.seconds_left, 6, 1e-6);
}

TEST_F(StagedProgressTest, TheTimeLeftFollowsWhatWorkTook) {
  StagedProgress progress = Make(1);
  Run(&progress, "reference", 2, 10);  // ten times as long as the first estimate
  EXPECT_GT(kept_.last.seconds_left, 100);
  EXPECT_LT(kept_.last.seconds_left, 130);
  const double before = kept_.last.seconds_left;
  progress.Begin("gradients", 4);
  progress.Update(0, "");
  now_s_ += 4;
  progress.Update(4, "");  // costs at the speed that was expected: the rest is as slow as before
  EXPECT_LT(kept_.last.seconds_left, before);
  EXPECT_GT(kept_.last.seconds_left, 70);
}

}  // namespace
}  // namespace bitbudget
