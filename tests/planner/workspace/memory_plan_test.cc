#include "planner/workspace/memory_plan.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "runtime/quantize/gram_factors.h"
#include "scoring/gradient_pass.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

MemoryRequest SmallRequest() {
  MemoryRequest request;
  request.search_probes = 48;
  request.held_out_probes = 128;
  request.context = 200;
  request.compared = 100;
  request.threads = 2;
  return request;
}

TEST(PlanMemory, StaysWithinEveryLimitOrRefusesIt) {
  const LoadedModel model;
  int64_t refused = 0;
  int64_t planned = 0;
  MemoryPlan previous;
  for (int64_t limit = int64_t{1} << 20; limit < int64_t{1} << 34; limit += limit / 16) {
    const auto plan = PlanMemory(*model, SmallRequest(), limit);
    if (!plan.ok()) {
      ASSERT_EQ(planned, 0) << "a larger limit is refused";
      ++refused;
      continue;
    }
    ++planned;
    EXPECT_LE(plan->total, limit);
    EXPECT_EQ(plan->total,
              plan->fixed + plan->scratch + plan->streams + plan->weights + plan->states +
                  2 * plan->logits);
    // More memory never means less for a part.
    EXPECT_GE(plan->weights + plan->states + plan->logits,
              previous.weights + previous.states + previous.logits);
    previous = *plan;
  }
  EXPECT_GT(refused, 10);
  EXPECT_GT(planned, 10);
  EXPECT_LT(previous.total, int64_t{1} << 30);  // a small model takes no more than it can use
}

TEST(PlanMemory, CountsWhatGradientsTake) {
  const LoadedModel model;
  const int64_t enough = int64_t{1} << 34;
  MemoryRequest request = SmallRequest();
  request.gradient_probes = 1000;
  request.window = 200;
  const auto with = PlanMemory(*model, request, enough);
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ(with->streams, GradientPassBytes((*model).config(), 200000, 200, 0));
  ExpectError(PlanMemory(*model, request, with->streams).status(),
              absl::StatusCode::kResourceExhausted,
              {"fewer or shorter probes"});
}

TEST(PlanMemory, CountsFactorsOfGramMatrices) {
  const LoadedModel model;
  const int64_t enough = int64_t{1} << 34;
  MemoryRequest request = SmallRequest();
  const auto without = PlanMemory(*model, request, enough);
  request.grams = true;
  const auto with = PlanMemory(*model, request, enough);
  ASSERT_TRUE(without.ok() && with.ok());
  int64_t most_inputs = 0;
  for (const Component& component : (*model).components()) {
    most_inputs = std::max(most_inputs, component.cols);
  }
  EXPECT_EQ(with->weights - without->weights, GramFactors::PeakBytes(most_inputs));
}

TEST(PlanMemory, ARefusalSaysWhatWouldFit) {
  const LoadedModel model;
  MemoryRequest request = SmallRequest();
  ExpectError(PlanMemory(*model, request, 1 << 20).status(),
              absl::StatusCode::kResourceExhausted,
              {"at least", "limit is 0.00 GiB", "allow more memory", "fewer threads"});
  request.search_probes = 4000000;
  ExpectError(PlanMemory(*model, request, int64_t{1} << 30).status(),
              absl::StatusCode::kResourceExhausted,
              {"limit is 1.00 GiB", "fewer or shorter probes", "more memory"});
}

TEST(PlanMemory, ReadsSizesAndNothingElse) {
  EXPECT_EQ(*ParseMemory("16GiB"), int64_t{16} << 30);
  EXPECT_EQ(*ParseMemory("500MB"), 500000000);
  for (const char* text : {"", "16", "4.5bpw", "60%", "-1GiB", "GiB"}) {
    ExpectError(
        ParseMemory(text).status(), absl::StatusCode::kInvalidArgument, {"memory size", text});
  }
  EXPECT_GE(DefaultMemoryLimit(), int64_t{256} << 20);
}

}  // namespace
}  // namespace bitbudget
