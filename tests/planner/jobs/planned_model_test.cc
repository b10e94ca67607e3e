#include "planner/jobs/planned_model.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "planner/jobs/plan_job.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

plans::Plan MustPlan(const Model& model) {
  Progress progress;
  absl::StatusOr<plans::Plan> plan = RunPlanJob(model, SmallJob("uniform"), &progress);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *std::move(plan) : plans::Plan();
}

TEST(AssignmentOfPlan, RefusesPlansOfOtherModels) {
  const LoadedModel model;
  const plans::Plan plan = MustPlan(*model);
  const LoadedModel other(SmallModelOptions(/*seed=*/2));
  ExpectError(
      AssignmentOfPlan(plan, *other).status(),
      kInvalid,
      {"another model", (*model).Fingerprint(), (*other).Fingerprint(), other.files.path()});

  plans::Plan shorter = plan;
  shorter.mutable_components()->RemoveLast();
  ExpectError(AssignmentOfPlan(shorter, *model).status(),
              kInvalid,
              {absl::StrCat(plan.components_size() - 1, " components"),
               absl::StrCat("the model has ", plan.components_size())});
  plans::Plan renamed = plan;
  renamed.mutable_components(3)->set_name("model.layers.0.self_attn.w_proj");
  ExpectError(AssignmentOfPlan(renamed, *model).status(),
              kInvalid,
              {"component 3", "w_proj", (*model).component(3).name});
  plans::Plan reshaped = plan;
  reshaped.mutable_components(2)->set_rows(1);
  ExpectError(AssignmentOfPlan(reshaped, *model).status(), kInvalid, {"component 2"});
}

TEST(OpenPlannedModel, WithoutAPlanTheModelIsAsItIsStored) {
  const LoadedModel model;
  Progress progress;
  const auto planned = OpenPlannedModel(*model, nullptr, {}, /*context=*/8, "", &progress);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->assignment, StoredAssignment(*model));
}

TEST(OpenPlannedModel, TakesEncoderAndFormatsFromThePlan) {
  const LoadedModel model;
  Progress progress;
  plans::Plan plan = MustPlan(*model);
  plan.mutable_options()->set_encoder("rtn");
  const auto planned = OpenPlannedModel(*model, &plan, {}, /*context=*/8, "", &progress);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->assignment, *AssignmentOfPlan(plan, *model));
  EXPECT_EQ(planned->workspace->options().encoder, "rtn");
  plan.mutable_options()->set_encoder("magic");
  ExpectError(OpenPlannedModel(*model, &plan, {}, 8, "", &progress).status(), kInvalid, {"magic"});
}

}  // namespace
}  // namespace bitbudget
