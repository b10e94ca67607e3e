#include "planner/jobs/plan_job.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/planned_model.h"
#include "planner/workspace/workspace.h"
#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/validate.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr const char* kMethods[] = {
    "greedy", "additive", "layerwise", "uniform", "random", "beam", "evolution"};

plans::Plan MustPlan(const Model& model, const PlanOptions& options) {
  Progress progress;
  absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
  EXPECT_TRUE(plan.ok()) << options.search << ": " << plan.status();
  return plan.ok() ? *std::move(plan) : plans::Plan();
}

// What every plan promises, whether the search came to its end or not.
void ExpectSound(const plans::Plan& plan, const Model& model, const PlanOptions& options) {
  const absl::Status valid = ValidatePlan(plan);
  EXPECT_TRUE(valid.ok()) << valid;
  const int64_t budget =
      std::get<Budget>(options.limit).Bytes(model.parameter_count(), model.stored_bytes());
  EXPECT_EQ(plan.budget().bytes(), budget);
  EXPECT_LE(PlanSizeBytes(plan), budget);
  const absl::StatusOr<Assignment> assignment = AssignmentOfPlan(plan, model);
  ASSERT_TRUE(assignment.ok()) << assignment.status();
  EXPECT_EQ(AssignmentBytes(*assignment, model), PlanSizeBytes(plan));
  int64_t bytes = model.fixed_bytes();
  for (int c = 0; c < plan.components_size(); ++c) {
    const Component& component = model.component(c);
    EXPECT_EQ(plan.components(c).size_bytes(),
              SizeBytes((*assignment)[c], component.rows, component.cols));
    bytes += plan.components(c).size_bytes();
  }
  EXPECT_EQ(bytes, PlanSizeBytes(plan));
  // Every accepted candidate was run; an early interruption leaves a plan that no run stands
  // behind.
  EXPECT_EQ(plan.search().has_search_probes(), plan.search().trace_size() > 0);
  EXPECT_TRUE(plan.search().has_search_probes() || !plan.complete());
  EXPECT_LE(plan.search().computed(), plan.search().naive());
  if (!plan.complete()) {
    EXPECT_FALSE(plan.has_held_out());
    return;
  }
  const plans::HeldOut& held_out = plan.held_out();
  EXPECT_TRUE(held_out.has_plan());
  EXPECT_TRUE(held_out.has_noise_floor());
  EXPECT_EQ(plan.options().held_out_probes(), options.held_out_probes);
  EXPECT_EQ(plan.options().search_probes(), options.search_probes);
}

TEST(RunPlanJob, EveryMethodGivesACompleteSoundPlan) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    for (const char* scorer : {"lim", "zd", "signal"}) {
      for (const char* budget : {"5.3bpw", "7bpw", "99%"}) {
        if (std::string(search) != "layerwise" && std::string(scorer) != "lim") continue;
        SCOPED_TRACE(absl::StrCat(search, " ", scorer, " ", budget));
        PlanOptions options = SmallJob(search, budget);
        options.scorer = scorer;
        const plans::Plan plan = MustPlan(*model, options);
        EXPECT_TRUE(plan.complete());
        ExpectSound(plan, *model, options);
        EXPECT_EQ(plan.options().search(), search);
        EXPECT_EQ(plan.options().scorer(), std::string(search) == "layerwise" ? scorer : "");
        EXPECT_EQ(plan.budget().requested(), budget);
        EXPECT_FALSE(plan.held_out().uniform_format().empty());
      }
    }
  }
}

TEST(RunPlanJob, TheSamePlanForAnyNumberOfThreadsAndEveryRun) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    PlanOptions options = SmallJob(search);
    options.workspace.probes.seed = 7;
    const std::string bytes = SerializePlan(MustPlan(*model, options));
    for (const int threads : {1, 2, 4}) {
      options.workspace.threads = threads;
      EXPECT_EQ(SerializePlan(MustPlan(*model, options)), bytes)
          << search << ", " << threads << " threads";
    }
  }
}

TEST(RunPlanJob, AnotherSeedMeasuresOnOtherProbes) {
  const LoadedModel model;
  PlanOptions options = SmallJob("uniform");
  const plans::Plan plan = MustPlan(*model, options);
  options.workspace.probes.seed = 1;
  const plans::Plan other = MustPlan(*model, options);
  ExpectSound(other, *model, options);
  EXPECT_EQ(other.options().seed(), 1u);
  EXPECT_NE(other.search().search_probes().kl_mean(), plan.search().search_probes().kl_mean());
  EXPECT_NE(other.held_out().plan().kl_mean(), plan.held_out().plan().kl_mean());
}

TEST(RunPlanJob, KeepsToTheConstraints) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    SCOPED_TRACE(search);
    PlanOptions options = SmallJob(search, "8bpw");
    options.constraints.formats = *ParseFormatList("int4-g32,int8");
    options.constraints.pins = {*ParsePin("lm_head=int4z-g32")};
    options.constraints.min_bits = {*ParseMinBits("down_proj=8")};
    const plans::Plan plan = MustPlan(*model, options);
    ExpectSound(plan, *model, options);
    for (const plans::Component& c : plan.components()) {
      std::set<std::string> allowed = {"int4-g32", "int8"};
      if (c.kind() == "head") allowed = {"int4z-g32"};
      if (c.kind() == "down") allowed = {"int8"};
      EXPECT_TRUE(allowed.contains(c.format())) << c.name() << ": " << c.format();
    }
    ASSERT_EQ(plan.options().pins_size(), 1);
    EXPECT_EQ(plan.options().pins(0), "lm_head=int4z-g32");
    ASSERT_EQ(plan.options().min_bits_size(), 1);
    EXPECT_EQ(plan.options().min_bits(0), "down_proj=8");
  }
}

TEST(RunPlanJob, EverythingPinnedIsMeasuredAsItIs) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    SCOPED_TRACE(search);
    PlanOptions options = SmallJob(search, "9bpw");
    options.constraints.pins = {*ParsePin(".=int8"), *ParsePin("up_proj=int4-g32")};
    const plans::Plan plan = MustPlan(*model, options);
    EXPECT_TRUE(plan.complete());
    ExpectSound(plan, *model, options);
    for (const plans::Component& c : plan.components()) {
      EXPECT_EQ(c.format(), c.kind() == "up" ? "int4-g32" : "int8") << c.name();
    }
    EXPECT_TRUE(plan.held_out().uniform_format().empty());
    EXPECT_FALSE(plan.held_out().uniform_emitted());
  }
}

// An unlucky order on few probes does lose to uniform on others: over the seeds there are both
// ends, and each plan is what its flag says.
TEST(RunPlanJob, EmitsUniformWhereTheSearchDoesNotWin) {
  const LoadedModel model;
  int emitted = 0;
  int kept = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    PlanOptions options = SmallJob("random", "4.9bpw");
    options.objective = Statistic::kFdt75;
    options.workspace.probes.seed = seed;
    options.search_probes = 2;
    const plans::Plan plan = MustPlan(*model, options);
    ExpectSound(plan, *model, options);
    const plans::HeldOut& held_out = plan.held_out();
    const bool says_so = absl::StrContains(RenderPlan(plan), "nothing better than uniform");
    EXPECT_EQ(says_so, held_out.uniform_emitted()) << RenderPlan(plan);
    bool is_uniform = true;
    for (const plans::Component& c : plan.components()) {
      is_uniform = is_uniform && c.format() == held_out.uniform_format();
    }
    if (held_out.uniform_emitted()) {
      ++emitted;
      EXPECT_TRUE(is_uniform);
      EXPECT_EQ(PlanSizeBytes(plan), held_out.uniform_size_bytes());
    } else if (!is_uniform) {
      ++kept;
      EXPECT_TRUE(held_out.plan().fdt_75() > held_out.uniform().fdt_75() ||
                  held_out.plan().dppl() < held_out.uniform().dppl() ||
                  held_out.plan().kl_mean() < held_out.uniform().kl_mean());
    }
  }
  EXPECT_GT(emitted, 0);
  EXPECT_GT(kept, 0);
}

TEST(RunPlanJob, AnImpossibleBudgetIsRefusedBeforeAnyWork) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    CountingProgress progress;
    const auto plan = RunPlanJob(*model, SmallJob(search, "0.5bpw"), &progress);
    ExpectError(plan.status(), kInvalid, {"smallest possible size is"});
    EXPECT_TRUE(IsInfeasible(plan.status()));
    EXPECT_EQ(progress.begins(), 0);
  }
}

// Something fits, but nothing uniform.
TEST(RunPlanJob, WithoutAUniformAssignmentTheOtherMethodsWork) {
  const LoadedModel model;
  for (const char* search : kMethods) {
    SCOPED_TRACE(search);
    PlanOptions options = SmallJob(search, "6.5bpw");
    options.constraints.formats = *ParseFormatList("int4-g32,int8,int8-g32");
    options.constraints.min_bits = {*ParseMinBits("down_proj=8")};
    Progress progress;
    const auto plan = RunPlanJob(*model, options, &progress);
    if (std::string(search) == "uniform") {
      ExpectError(plan.status(),
                  kInvalid,
                  {"search method uniform", "smallest possible size is", "int8", "greedy has one"});
      EXPECT_TRUE(IsInfeasible(plan.status()));
    } else {
      ASSERT_TRUE(plan.ok()) << plan.status();
      ExpectSound(*plan, *model, options);
      EXPECT_TRUE(plan->held_out().uniform_format().empty());
    }
  }
}

// The narrowest format is int4-g32 for rows of 32 inputs and int4z-g128 for rows of 96, so every
// width everywhere is larger than the smallest plan.
TEST(RunPlanJob, AnOrderThatCannotStartSaysSo) {
  TinyModelOptions narrow = SmallModelOptions();
  narrow.hidden = 32;
  const LoadedModel model(narrow);
  PlanOptions options = SmallJob("greedy", "100%");
  options.constraints.formats = *ParseFormatList("int4-g32,int4z-g128");
  std::vector<std::string> notes;
  const absl::StatusOr<SearchProblem> problem =
      BuildProblem(*model, options.constraints, ByteBudget{int64_t{1} << 40}, &notes);
  ASSERT_TRUE(problem.ok()) << problem.status();
  const int64_t smallest = problem->SmallestBytes();
  options.limit = *ParseBudget(absl::StrCat(smallest, "B"));
  EXPECT_EQ(PlanSizeBytes(MustPlan(*model, options)), smallest);
  for (const char* search : {"layerwise", "random", "uniform"}) {
    options.search = search;
    Progress progress;
    const absl::Status status = RunPlanJob(*model, options, &progress).status();
    ExpectError(status,
                kInvalid,
                {absl::StrCat("search method ", search),
                 absl::StrCat("smallest possible size is ", smallest, " bytes")});
    EXPECT_TRUE(IsInfeasible(status));
  }
}

// One run per moment: every call of Update, and some of the many calls of Interrupted.
void InterruptEverywhere(const Model& model, const PlanOptions& options, int max_moments) {
  CountingProgress whole;
  const absl::StatusOr<plans::Plan> full = RunPlanJob(model, options, &whole);
  ASSERT_TRUE(full.ok()) << full.status();
  const std::string full_bytes = SerializePlan(*full);
  int cancelled = 0, incomplete = 0;
  const auto run = [&](CountingProgress* progress) {
    const absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, progress);
    if (!plan.ok()) {
      EXPECT_TRUE(absl::IsCancelled(plan.status())) << plan.status();
      ++cancelled;
      return;
    }
    ExpectSound(*plan, model, options);
    if (plan->complete()) {
      EXPECT_EQ(SerializePlan(*plan), full_bytes);
    } else {
      ++incomplete;
    }
  };
  const auto moments = [&](int64_t total) {
    std::set<int64_t> some;
    for (int64_t i = 0; i < max_moments; ++i) some.insert(total * i / max_moments);
    some.insert({total - 1, total, total + 1});
    return some;
  };
  for (const int64_t updates : moments(whole.updates())) {
    SCOPED_TRACE(absl::StrCat(options.search, ": after ", updates, " updates"));
    CountingProgress progress(updates);
    run(&progress);
  }
  for (const int64_t questions : moments(whole.questions())) {
    SCOPED_TRACE(absl::StrCat(options.search, ": at question ", questions));
    CountingProgress progress(INT64_MAX, questions);
    run(&progress);
  }
  EXPECT_GT(cancelled, 0);
  EXPECT_GT(incomplete, 0);
}

TEST(RunPlanJob, AnInterruptionGivesASoundIncompletePlanOrNone) {
  const LoadedModel model;
  for (const char* search : kMethods) InterruptEverywhere(*model, SmallJob(search), 8);
}

// With text there is work after the decision between search and uniform: an interruption there
// must not leave a plan that is neither.
TEST(RunPlanJob, AnInterruptionAfterUniformWonLeavesTheSearchesResult) {
  const ModelWithText model;
  PlanOptions options = SmallJob("random", "4.9bpw");
  options.objective = Statistic::kFdt75;
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  options.workspace.probes.prefix_tokens = 20;
  options.search_probes = 2;
  for (options.workspace.probes.seed = 0; options.workspace.probes.seed < 20;
       ++options.workspace.probes.seed) {
    CountingProgress whole;
    const absl::StatusOr<plans::Plan> full = RunPlanJob(*model, options, &whole);
    ASSERT_TRUE(full.ok()) << full.status();
    ASSERT_TRUE(full->held_out().has_text());
    EXPECT_GT(full->held_out().text().reference(), 1);
    EXPECT_GT(full->held_out().text().plan(), 1);
    EXPECT_GT(full->held_out().text().uniform(), 1);
    if (!full->held_out().uniform_emitted()) continue;
    EXPECT_EQ(full->held_out().text().plan(), full->held_out().text().uniform());

    CountingProgress last_moment(INT64_MAX, whole.questions() - 1);
    const absl::StatusOr<plans::Plan> plan = RunPlanJob(*model, options, &last_moment);
    ASSERT_TRUE(plan.ok()) << plan.status();
    ExpectSound(*plan, *model, options);
    ASSERT_FALSE(plan->complete());
    const plans::TraceStep& found = plan->search().trace(plan->search().trace_size() - 1);
    EXPECT_EQ(PlanSizeBytes(*plan), found.size_bytes());
    ASSERT_EQ(found.changes_size(), plan->components_size());
    for (int c = 0; c < plan->components_size(); ++c) {
      EXPECT_EQ(plan->components(c).format(), found.changes(c).format());
    }
    return;
  }
  FAIL() << "uniform never won";
}

TEST(RunPlanJob, RefusesOptionsByName) {
  const LoadedModel model;
  const auto refusal = [&](void (*change)(PlanOptions&)) {
    PlanOptions options = SmallJob("uniform");
    change(options);
    Progress progress;
    const absl::Status status = RunPlanJob(*model, options, &progress).status();
    EXPECT_EQ(options.Validate(), status);
    return status;
  };
  ExpectError(refusal([](PlanOptions& o) { o.search = "genetic"; }),
              kInvalid,
              {"unknown search method 'genetic'",
               "greedy, additive, layerwise, uniform, random, beam, evolution, sparsify"});
  ExpectError(
      refusal([](PlanOptions& o) { o.scorer = "mid"; }), kInvalid, {"unknown scorer 'mid'"});
  ExpectError(refusal([](PlanOptions& o) { o.workspace.encoder = "awq"; }), kInvalid, {"awq"});
  ExpectError(refusal([](PlanOptions& o) { o.search_probes = 1; }), kInvalid, {"at least 2"});
  ExpectError(refusal([](PlanOptions& o) { o.held_out_probes = 0; }), kInvalid, {"not 4 and 0"});
  ExpectError(refusal([](PlanOptions& o) { o.workspace.threads = 0; }),
              kInvalid,
              {"the number of threads is 0"});
  ExpectError(refusal([](PlanOptions& o) { o.workspace.probes.prefix_tokens = 0; }),
              kInvalid,
              {"prefix", "0"});
}

TEST(RunPlanJob, TextNeedsATokenizer) {
  const LoadedModel model;
  PlanOptions options = SmallJob("uniform");
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.files.path() + "/config.json";
  Progress progress;
  ExpectError(RunPlanJob(*model, options, &progress).status(),
              kInvalid,
              {model.files.path(), "no tokenizer"});
}

// The least limit that is not refused changes what is kept in memory, not the plan.
TEST(RunPlanJob, GivesTheSamePlanInLittleMemory) {
  const LoadedModel model;
  Progress progress;
  PlanOptions options = SmallJob("greedy");
  const std::string expected = SerializePlan(MustPlan(*model, options));
  MemoryPlan memory;
  absl::StatusOr<plans::Plan> plan = absl::ResourceExhaustedError("not tried yet");
  constexpr int64_t kStep = int64_t{1} << 18;
  constexpr int64_t kMost = int64_t{1} << 30;  // far more than this model needs
  for (int64_t limit = int64_t{1} << 20; absl::IsResourceExhausted(plan.status()); limit += kStep) {
    ASSERT_LT(limit, kMost) << plan.status();
    options.workspace.memory_bytes = limit;
    plan = RunPlanJob(*model, options, &progress, nullptr, &memory);
  }
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(SerializePlan(*plan), expected);
  EXPECT_GT(options.workspace.memory_bytes, int64_t{1} << 20) << "no limit was refused";
  EXPECT_LE(memory.total, memory.limit);
  EXPECT_EQ(memory.limit, options.workspace.memory_bytes);
}

}  // namespace
}  // namespace bitbudget
