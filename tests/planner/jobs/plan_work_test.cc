#include "planner/jobs/plan_work.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "planner/jobs/feasibility.h"
#include "planner/jobs/plan_preview.h"
#include "tests/planner/planner_test_util.h"

namespace bitbudget {
namespace {

PhaseWork Named(std::vector<std::string> phases) {
  PhaseWork work;
  work.phases = std::move(phases);
  return work;
}

TEST(PlanWorkTest, APhaseIsNamedWholeOrByAnyText) {
  EXPECT_TRUE(IsPhase("start", Named({"start", "round *"})));
  EXPECT_TRUE(IsPhase("round 3", Named({"start", "round *"})));
  EXPECT_FALSE(IsPhase("starting", Named({"start"})));
  EXPECT_TRUE(IsPhase("round 1 of 8, retrain", Named({"round * of *"})));
  EXPECT_FALSE(IsPhase("round 1", Named({"round * of *"})));
}

// Takes down the phases of no stage, those of which there is no work left, and the share.
class Seen : public Progress {
 public:
  void Overall(const OverallProgress* job) override {
    if (job == nullptr) return;
    EXPECT_GE(job->share, share);
    share = job->share;
    total = job->total_passes;
    if (first_total == 0) first_total = total;
    if (stages.empty() || stages.back() != job->name) stages.emplace_back(job->name);
  }
  void Begin(absl::string_view phase, int64_t) override { phases.insert(std::string(phase)); }

  std::set<std::string> phases;
  std::vector<std::string> stages;  // as they came
  double share = 0;
  double total = 0;
  double first_total = 0;
};

void ExpectKnown(const Seen& seen, const PlanWork& work) {
  for (const std::string& phase : seen.phases) {
    bool known = false;
    for (const WorkStage& stage : work.stages) {
      for (const PhaseWork& part : stage.parts) known |= IsPhase(phase, part);
    }
    EXPECT_TRUE(known) << phase;
  }
}

// Runs the job and expects that every phase it begins is one of the stages'.
void ExpectAllKnown(const Model& model, const PlanOptions& options) {
  Seen seen;
  const absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &seen);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(seen.share, 1);
  EXPECT_LE(seen.total, seen.first_total * (1 + 1e-9));
  const absl::StatusOr<PlanPreview> preview = PreviewPlans(model, {&options, 1}, {}, 1);
  ASSERT_TRUE(preview.ok()) << preview.status();
  EXPECT_NEAR(preview->work.passes(), seen.first_total, 1e-9 * seen.first_total);
  SCOPED_TRACE(options.search);
  ExpectKnown(seen, preview->work);
}

TEST(PlanWorkTest, EveryPhaseOfEveryMethodBelongsToAStage) {
  LoadedModel model;
  for (const char* search :
       {"greedy", "additive", "layerwise", "random", "uniform", "beam", "evolution", "sparsify"}) {
    PlanOptions options = SmallJob(search, search == std::string("sparsify") ? "12bpw" : "6bpw");
    if (options.search == "sparsify") {
      options.constraints.formats = *ParseFormatList("bf16+s*");
    }
    ExpectAllKnown(*model, options);
    options.exhaustive = true;
    ExpectAllKnown(*model, options);
  }
}

TEST(PlanWorkTest, EveryPhaseOfEveryScorerBelongsToAStage) {
  LoadedModel model;
  for (const char* scorer : {"lim", "zd", "signal", "kfac", "fisher"}) {
    PlanOptions options = SmallJob("layerwise");
    options.scorer = scorer;
    ExpectAllKnown(*model, options);
  }
  for (const char* costs :
       {PlanOptions::kOutputError, "fisher", "first-order", "weighted-error", "linearity"}) {
    PlanOptions options = SmallJob("greedy");
    options.costs = costs;
    ExpectAllKnown(*model, options);
  }
}

TEST(PlanWorkTest, EveryPhaseOfEveryEncoderBelongsToAStage) {
  ModelWithText model;
  for (const char* encoder : {"imatrix", "gptq", "gptq-guided", "gptq+block"}) {
    for (const bool text : {false, true}) {
      PlanOptions options = SmallJob("uniform");
      options.workspace.encoder = encoder;
      if (text) {
        options.workspace.probes.source = ProbeSource::kText;
        options.workspace.probes.path = model.text;
      }
      ExpectAllKnown(*model, options);
    }
  }
}

TEST(PlanWorkTest, EveryPhaseOfRetrainingBelongsToAStage) {
  LoadedModel model;
  TempDir folder;
  PlanOptions options = SmallJob("sparsify");
  options.limit = *ParseSparsityGoal("30%");
  options.constraints.formats = *ParseFormatList("bf16,bf16+s20,bf16+s40,bf16+s60,removed");
  options.retraining = RetrainingSteps{.masked = 4, .unmasked = 2};
  options.out = folder.File("p.pb");
  ExpectAllKnown(*model, options);
}

TEST(PlanWorkTest, EveryPhaseOfAnOrderByTextBelongsToAStage) {
  ModelWithText model;
  PlanOptions options = SmallJob("beam");
  options.order = MeritKind::kPpl;
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  ExpectAllKnown(*model, options);
}

TEST(PlanWorkTest, SeveralJobsAreOneEstimateWhichCountsSharedWorkOnce) {
  LoadedModel model;
  std::vector<PlanOptions> jobs;
  std::vector<std::string> wanted = {"search probes", "costs"};
  for (const char* search : {"greedy", "additive", "layerwise", "random"}) {
    for (const char* budget : {"5bpw", "8bpw"}) {
      jobs.push_back(SmallJob(search, budget));
      if (search == std::string("layerwise") && wanted.back() == "additive 8bpw") {
        wanted.push_back("layer order");
      }
      wanted.push_back(std::string(search) + " " + budget);
    }
  }
  for (const char* shared : {"uniform rivals", "held-out probes", "held-out comparison"}) {
    wanted.push_back(shared);
  }
  HeldOutExtras extras;
  extras.continuations = 2;
  const auto preview = PreviewPlans(*model, jobs, extras, 1);
  ASSERT_TRUE(preview.ok()) << preview.status();
  std::vector<std::string> names;
  for (const WorkStage& stage : preview->work.stages) names.push_back(stage.name);
  EXPECT_EQ(names, wanted);
  EXPECT_EQ(preview->budget_bytes.size(), jobs.size());
  const auto alone = PreviewPlans(*model, {jobs.data(), 1}, {}, 1);
  ASSERT_TRUE(alone.ok()) << alone.status();
  for (const size_t shared : {0, 1}) {
    EXPECT_EQ(preview->work.stages[shared].passes(), alone->work.stages[shared].passes());
  }

  Seen seen;
  const auto outcomes = RunPlanJobs(*model, jobs, extras, &seen);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  // All of them, each in its turn.
  EXPECT_EQ(seen.stages, wanted);
  EXPECT_EQ(seen.share, 1);
  EXPECT_LE(seen.total, seen.first_total * (1 + 1e-9));
  EXPECT_NEAR(preview->work.passes(), seen.first_total, 1e-9 * seen.first_total);
  ExpectKnown(seen, preview->work);
}

TEST(PlanWorkTest, WhatCannotFitIsNoPreview) {
  LoadedModel model;
  const PlanOptions options = SmallJob("greedy", "1B");
  EXPECT_TRUE(IsInfeasible(PreviewPlans(*model, {&options, 1}, {}, 1).status()));
}

TEST(PlanWorkTest, RanksShareThePassesButNotTheCosts) {
  LoadedModel model;
  const auto stage = [&](int64_t ranks, const std::string& name) {
    double passes = 0;
    const PlanOptions options = SmallJob("greedy");
    const absl::StatusOr<PlanPreview> preview = PreviewPlans(*model, {&options, 1}, {}, ranks);
    EXPECT_TRUE(preview.ok()) << preview.status();
    if (!preview.ok()) return passes;
    for (const WorkStage& stage : preview->work.stages) {
      if (stage.name == name) passes = stage.passes();
    }
    return passes;
  };
  // In passes of the probes of a rank.
  EXPECT_NEAR(stage(2, "held-out comparison"), stage(1, "held-out comparison"), 1e-9);
  EXPECT_GT(stage(2, "costs"), 1.9 * stage(1, "costs"));
}

}  // namespace
}  // namespace bitbudget
