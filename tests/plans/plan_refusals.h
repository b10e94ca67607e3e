#ifndef BITBUDGET_TESTS_PLANS_PLAN_REFUSALS_H_
#define BITBUDGET_TESTS_PLANS_PLAN_REFUSALS_H_

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "plans/plan.pb.h"
#include "plans/validate.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {

// What makes a good plan a bad one.
struct Mutation {
  const char* name;
  std::function<void(plans::Plan&)> apply;
  const char* message;  // the error begins so
};

inline void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

class RefusalTest : public testing::TestWithParam<Mutation> {};

TEST_P(RefusalTest, NamesFieldAndValue) {
  plans::Plan plan = SmallPlan(2);
  ASSERT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
  GetParam().apply(plan);
  const absl::Status status = ValidatePlan(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()).substr(0, std::string(GetParam().message).size()),
            GetParam().message);
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANS_PLAN_REFUSALS_H_
