#include "planner/jobs/feasibility.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/constraints.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(CheckFeasible, NamesTheSmallestPossibleSize) {
  const LoadedModel model;
  std::vector<std::string> notes;
  absl::StatusOr<SearchProblem> built =
      BuildProblem(*model, {}, ByteBudget{int64_t{1} << 40}, &notes);
  ASSERT_TRUE(built.ok()) << built.status();
  SearchProblem problem = *std::move(built);
  const int64_t smallest = problem.SmallestBytes();
  const int64_t parameters = (*model).parameter_count();
  problem.limit = ByteBudget{smallest};
  EXPECT_TRUE(CheckFeasible(problem, parameters).ok());
  problem.limit = ByteBudget{smallest - 1};
  const absl::Status status = CheckFeasible(problem, parameters);
  ExpectError(status,
              kInvalid,
              {absl::StrCat("budget of ", smallest - 1, " bytes"),
               absl::StrCat("smallest possible size is ", smallest, " bytes"),
               "bits per weight"});
  EXPECT_TRUE(IsInfeasible(status));
  EXPECT_FALSE(IsInfeasible(absl::OkStatus()));
  EXPECT_FALSE(IsInfeasible(absl::InvalidArgumentError("another")));
}

TEST(CheckFeasible, NamesTheMatrixThatStandsInTheWay) {
  const LoadedModel model;
  const auto refusal = [&](const Constraints& constraints) {
    std::vector<std::string> notes;
    const auto problem = BuildProblem(*model, constraints, ByteBudget{1}, &notes);
    EXPECT_TRUE(problem.ok()) << problem.status();
    return CheckFeasible(*problem, (*model).parameter_count());
  };
  Constraints constraints;
  constraints.formats = *ParseFormatList("int4-g32,int8,bf16");
  EXPECT_FALSE(absl::StrContains(refusal(constraints).message(), "allowed there"));
  constraints.pins = {*ParsePin("embed_tokens=bf16")};
  ExpectError(refusal(constraints),
              kInvalid,
              {"model.embed_tokens", "stays in bf16, the only format allowed there"});
  constraints.pins.clear();
  constraints.min_bits = {*ParseMinBits("mlp=8")};
  ExpectError(refusal(constraints),
              kInvalid,
              {"mlp", "and 5 more stay in int8, the smallest allowed there"});
}

}  // namespace
}  // namespace bitbudget
