#include "planner/jobs/as_it_is.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "planner/jobs/constraints.h"
#include "plans/validate.h"
#include "tests/planner/planner_test_util.h"

namespace bitbudget {
namespace {

plans::Plan MustPlan(const Model& model, const PlanOptions& options) {
  Progress progress;
  absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *std::move(plan) : plans::Plan();
}

TEST(PlanAsItIs, AModelThatFitsIsNotSearched) {
  const LoadedModel model;
  PlanOptions options = SmallJob("greedy", "100%");
  const plans::Plan plan = MustPlan(*model, options);
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
  EXPECT_TRUE(plan.complete());
  EXPECT_TRUE(ChangesNothing(plan));
  EXPECT_EQ(PlanSizeBytes(plan), (*model).stored_bytes());
  EXPECT_EQ(plan.search().candidates(), 0);
  EXPECT_FALSE(plan.has_held_out());
  EXPECT_FALSE(plan.search().note().empty());
  // Not where the stored format is none of those to choose from, nor one byte below.
  options.constraints.formats = *ParseFormatList("int8,int4-g64");
  EXPECT_TRUE(MustPlan(*model, options).has_held_out());
  options.constraints.formats.clear();
  options.limit = *ParseBudget(absl::StrCat((*model).stored_bytes() - 1, "B"));
  EXPECT_TRUE(MustPlan(*model, options).has_held_out());
}

}  // namespace
}  // namespace bitbudget
