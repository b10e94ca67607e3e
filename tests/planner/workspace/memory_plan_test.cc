#include "planner/workspace/memory_plan.h"

#include <cstdint>
#include <vector>

#include "planner/jobs/evaluate_job.h"
#include "plans/plan_io.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

MemoryRequest SmallRequest() {
  MemoryRequest request;
  request.search_probes = 48;
  request.held_out_probes = 128;
  request.context = 200;
  request.completion = 100;
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

TEST(PlanMemory, ARefusalSaysWhatWouldFit) {
  const LoadedModel model;
  MemoryRequest request = SmallRequest();
  ExpectError(PlanMemory(*model, request, 1 << 20).status(),
              absl::StatusCode::kResourceExhausted,
              {"at least", "limit is 0.00 GiB", "give more --memory", "fewer --threads"});
  request.search_probes = 4000000;
  ExpectError(PlanMemory(*model, request, int64_t{1} << 30).status(),
              absl::StatusCode::kResourceExhausted,
              {"limit is 1.00 GiB", "fewer probes", "--completion", "--memory"});
}

TEST(PlanMemory, ReadsSizesAndNothingElse) {
  EXPECT_EQ(*ParseMemory("16GiB"), int64_t{16} << 30);
  EXPECT_EQ(*ParseMemory("500MB"), 500000000);
  for (const char* text : {"", "16", "4.5bpw", "60%", "-1GiB", "GiB"}) {
    ExpectError(ParseMemory(text).status(), absl::StatusCode::kInvalidArgument, {"--memory", text});
  }
  EXPECT_GE(DefaultMemoryLimit(), int64_t{256} << 20);
}

TEST(RunPlanJob, GivesTheSamePlanInLittleMemory) {
  const LoadedModel model;
  Progress progress;
  PlanOptions options = SmallJob("greedy");
  const auto plan = RunPlanJob(*model, options, &progress);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // The least that is not refused.
  MemoryPlan memory;
  for (options.memory_bytes = int64_t{1} << 20;; options.memory_bytes += int64_t{1} << 18) {
    const auto again = RunPlanJob(*model, options, &progress, nullptr, &memory);
    if (absl::IsResourceExhausted(again.status())) continue;
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->SerializeAsString(), plan->SerializeAsString());
    break;
  }
  EXPECT_LE(memory.total, memory.limit);
  EXPECT_EQ(memory.limit, options.memory_bytes);
}

TEST(RunEvaluateJob, FdtOnlyIsTheFdtOfAWholeEvaluation) {
  const LoadedModel model;
  Progress progress;
  EvaluateOptions options;
  options.uniform = *ParseFormat("int4-g32");
  options.probes.prefix_tokens = 6;
  options.probes.completion_tokens = 10;
  options.probe_count = 9;
  const auto whole = RunEvaluateJob(*model, options, &progress);
  options.fdt_only = true;
  const auto fdt = RunEvaluateJob(*model, options, &progress);
  ASSERT_TRUE(whole.ok() && fdt.ok());
  for (size_t i = 0; i < whole->evaluation.size(); ++i) {
    EXPECT_EQ(fdt->evaluation[i].fdt, whole->evaluation[i].fdt);
    EXPECT_EQ(fdt->evaluation[i].tokens, whole->evaluation[i].tokens);
  }
  EXPECT_EQ(fdt->metrics.fdt_mean(), whole->metrics.fdt_mean());
  EXPECT_EQ(fdt->metrics.fdt_75_interval().high(), whole->metrics.fdt_75_interval().high());
}

}  // namespace
}  // namespace bitbudget
