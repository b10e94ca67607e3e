// Search methods in a whole job: what they are told, what the plan says about them, and that their
// results depend on neither threads nor interruptions.

#include "planner/jobs/search_methods.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/feasibility.h"
#include "planner/runs/measure.h"
#include "planner/workspace/workspace.h"
#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/validate.h"
#include "search/typical_error.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

plans::Plan MustPlan(const Model& model, const PlanOptions& options) {
  Progress progress;
  absl::StatusOr<plans::Plan> plan = RunPlanJob(model, options, &progress);
  EXPECT_TRUE(plan.ok()) << options.search << ": " << plan.status();
  if (!plan.ok()) return plans::Plan();
  EXPECT_TRUE(ValidatePlan(*plan).ok()) << ValidatePlan(*plan);
  return *std::move(plan);
}

PlanOptions BeamJob(MeritKind order, const ModelWithText& model) {
  PlanOptions options = SmallJob("beam", "9bpw");
  options.constraints.formats = *ParseFormatList("int4-g32,bf16");
  options.beam_width = 2;
  options.order = order;
  options.workspace.probes.source = ProbeSource::kText;
  options.workspace.probes.path = model.text;
  return options;
}

// Formats that a trace gives the components up to its end.
std::string TraceEnd(const plans::Plan& plan) {
  std::map<std::string, std::string> formats;
  for (const plans::TraceStep& step : plan.search().trace()) {
    for (const plans::Change& change : step.changes())
      formats[change.component()] = change.format();
  }
  std::string text;
  for (const plans::Component& c : plan.components())
    absl::StrAppend(&text, formats[c.name()], " ");
  return text;
}

std::string Formats(const plans::Plan& plan) {
  std::string text;
  for (const plans::Component& c : plan.components()) absl::StrAppend(&text, c.format(), " ");
  return text;
}

TEST(BeamJobTest, EveryOrderGivesAPlanWithItsOrderAndThePlanSaysWhich) {
  const ModelWithText model;
  std::set<std::string> orders;
  for (const MeritKind order : {MeritKind::kFdt, MeritKind::kDppl, MeritKind::kPpl}) {
    const PlanOptions options = BeamJob(order, model);
    const plans::Plan plan = MustPlan(*model, options);
    EXPECT_TRUE(plan.complete());
    EXPECT_EQ(plan.options().method().beam_width(), 2);
    EXPECT_EQ(plan.options().method().order(), MeritKindName(order));
    EXPECT_TRUE(
        absl::StrContains(RenderPlan(plan), absl::StrCat("beam of 2 by ", MeritKindName(order))));
    if (!plan.held_out().uniform_emitted()) {
      EXPECT_EQ(TraceEnd(plan), Formats(plan));
    }
    // From everything in bf16, one component at a time.
    for (int i = 1; i < plan.search().trace_size(); ++i) {
      EXPECT_EQ(plan.search().trace(i).changes_size(), 1);
      EXPECT_LT(plan.search().trace(i).size_bytes(), plan.search().trace(i - 1).size_bytes());
    }
    PlanOptions threads = options;
    threads.workspace.threads = 4;
    EXPECT_EQ(SerializePlan(MustPlan(*model, threads)), SerializePlan(plan));
  }
}

TEST(BeamJobTest, AnInterruptedRunGoesOnToTheSamePlan) {
  const ModelWithText model;
  PlanOptions options = BeamJob(MeritKind::kPpl, model);
  const std::string expected = SerializePlan(MustPlan(*model, options));
  options.run_dir = model.files.path() + "/run";
  bool interrupted = false;
  for (const int64_t updates : {40, 70, 100}) {
    CountingProgress progress(updates);
    const absl::StatusOr<plans::Plan> plan = RunPlanJob(*model, options, &progress);
    interrupted = interrupted || !plan.ok() || !plan->complete();
  }
  EXPECT_TRUE(interrupted);
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), expected);
}

TEST(BeamJobTest, TheOrderByPplNeedsText) {
  const LoadedModel model;
  PlanOptions options = SmallJob("beam");
  options.order = MeritKind::kPpl;
  Progress progress;
  ExpectError(RunPlanJob(*model, options, &progress).status(),
              kInvalid,
              {"beam order ppl", "natural text", "the model"});
  options.beam_width = 0;
  ExpectError(options.Validate(), kInvalid, {"beam width is 0"});
}

PlanOptions SparseJob(const std::string& search, int sparsity_permille) {
  PlanOptions options = SmallJob(search, "100%");
  options.constraints.formats = *ParseFormatList("bf16,bf16+s30,bf16+s60,bf16+s90,removed");
  if (sparsity_permille > 0) options.limit = SparsityGoal{{sparsity_permille}, "some"};
  return options;
}

// Thousandths of the weights outside embedding and head that a plan leaves out.
double SparsityPermilleOf(const plans::Plan& plan, bool embeddings = false) {
  double zeros = 0, weights = 0;
  for (const plans::Component& c : plan.components()) {
    if (c.layer() < 0 && !embeddings) continue;
    const double count = static_cast<double>(c.rows() * c.cols());
    zeros += count * SparsityPermille(*ParseFormat(c.format()));
    weights += count;
  }
  return zeros / weights;
}

TEST(SparseJobTest, ATargetOfZerosIsMetAndThePlanSaysWhatItTook) {
  const LoadedModel model;
  for (const char* search : {"sparsify", "uniform"}) {
    for (const int target : {300, 450, 750}) {
      SCOPED_TRACE(absl::StrCat(search, " ", target));
      const PlanOptions options = SparseJob(search, target);
      const plans::Plan plan = MustPlan(*model, options);
      EXPECT_TRUE(plan.complete());
      EXPECT_GE(SparsityPermilleOf(plan), target);
      EXPECT_EQ(plan.options().method().sparsity_permille(), target);
      EXPECT_EQ(plan.budget().bytes(),
                std::max(PlanSizeBytes(plan), plan.held_out().uniform_size_bytes()));
      for (const plans::Component& c : plan.components()) {
        if (c.layer() < 0) {
          EXPECT_EQ(c.format(), "bf16") << c.name();
        }
      }
      const bool sparsify = std::string(search) == "sparsify";
      EXPECT_EQ(absl::StrContains(RenderPlan(plan), "without the retraining"), sparsify);
      EXPECT_EQ(absl::StrContains(plan.search().note(), "retraining"), sparsify);
      if (sparsify && !plan.held_out().uniform_emitted()) {
        EXPECT_EQ(TraceEnd(plan), Formats(plan));
      }
    }
  }
}

TEST(SparseJobTest, ABudgetIsMetAndEmbeddingsTakePartWhenAsked) {
  const LoadedModel model;
  PlanOptions options = SparseJob("sparsify", 0);
  options.limit = *ParseBudget("60%");
  const plans::Plan pinned = MustPlan(*model, options);
  EXPECT_LE(PlanSizeBytes(pinned), pinned.budget().bytes());
  for (const int c : {0, pinned.components_size() - 1}) {
    EXPECT_EQ(pinned.components(c).format(), "bf16");
  }
  options.limit = *ParseSparsityGoal("90%");
  options.prunes_embeddings = true;
  const plans::Plan all = MustPlan(*model, options);
  EXPECT_TRUE(all.options().method().prunes_embeddings());
  EXPECT_GE(SparsityPermilleOf(all, /*embeddings=*/true), 900);
}

TEST(SparseJobTest, TheSamePlanForAnyThreadsAndAfterInterruptions) {
  const LoadedModel model;
  PlanOptions options = SparseJob("sparsify", 600);
  const std::string expected = SerializePlan(MustPlan(*model, options));
  options.workspace.threads = 3;
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), expected);
  options.run_dir = model.files.path() + "/run";
  int incomplete = 0;
  for (const int64_t updates : {15, 45}) {
    CountingProgress progress(updates);
    const absl::StatusOr<plans::Plan> plan = RunPlanJob(*model, options, &progress);
    if (!plan.ok()) {
      EXPECT_TRUE(absl::IsCancelled(plan.status())) << plan.status();
      continue;
    }
    EXPECT_FALSE(plan->complete());
    EXPECT_TRUE(ValidatePlan(*plan).ok()) << ValidatePlan(*plan);
    EXPECT_GE(SparsityPermilleOf(*plan), 600);  // measured or not, it keeps to the target
    ++incomplete;
  }
  EXPECT_GT(incomplete, 0);
  EXPECT_EQ(SerializePlan(MustPlan(*model, options)), expected);
}

TEST(SparseJobTest, RefusesWhatItCannotDo) {
  const LoadedModel model;
  Progress progress;
  PlanOptions options = SparseJob("sparsify", 500);
  options.constraints.formats = *ParseFormatList("bf16,int4-g32,removed");
  ExpectError(RunPlanJob(*model, options, &progress).status(),
              kInvalid,
              {"differ in sparsity only", "int4-g32"});
  ExpectError(SparseJob("greedy", 500).Validate(),
              kInvalid,
              {"greedy", "size budget", "uniform, sparsify"});
  ExpectError(SparseJob("sparsify", 1001).Validate(), kInvalid, {"sparsity target is 100.1 %"});
  // No format leaves out so much.
  options = SparseJob("sparsify", 950);
  options.constraints.formats = *ParseFormatList("bf16,bf16+s30,bf16+s90");
  const absl::Status status = RunPlanJob(*model, options, &progress).status();
  ExpectError(status, kInvalid, {"search method sparsify", "95", "zeros"});
  EXPECT_TRUE(IsInfeasible(status));
}

// Layers are removed as a whole, which is the pruning that Layer-Wise Quantization compares with.
TEST(LayerwiseJobTest, RemovesWholeBlocks) {
  const LoadedModel model;
  PlanOptions options = SmallJob("layerwise", "80%");
  options.constraints.formats = *ParseFormatList("bf16,removed");
  options.constraints.pins = {*ParsePin("embed|head=bf16")};
  const plans::Plan plan = MustPlan(*model, options);
  std::map<int, std::set<std::string>> layers;
  for (const plans::Component& c : plan.components()) layers[c.layer()].insert(c.format());
  std::set<std::string> used;
  for (const auto& [layer, formats] : layers) {
    EXPECT_EQ(formats.size(), 1u) << layer;
    if (layer >= 0) used.insert(*formats.begin());
  }
  EXPECT_EQ(used, (std::set<std::string>{"bf16", "removed"}));
}

// What the order by PPL ranks by is the likelihood of the text's own tokens behind the prompts.
TEST(TextProbesTest, FollowTheTextItself) {
  const ModelWithText model;
  ProbeOptions options;
  options.source = ProbeSource::kText;
  options.path = model.text;
  options.prefix_tokens = 4;
  options.completion_tokens = 12;
  const auto maker = ProbeMaker::Create(*model, options);
  ASSERT_TRUE(maker.ok()) << maker.status();
  const auto workspace = Workspace::Create(*model, WorkspaceOptions(), (*maker)->context());
  ASSERT_TRUE(workspace.ok());
  const TextProbes text = (*maker)->MakeTextProbes(ProbeRole::kSearch, 6);
  const auto windows = (*maker)->TextWindows(ProbeRole::kSearch, 6);
  ASSERT_EQ(text.prompts.size(), 6u);
  for (size_t i = 0; i < windows.size(); ++i) {
    std::vector<int32_t> whole = text.prompts[i];
    EXPECT_EQ(whole.size(), 4u);
    whole.insert(
        whole.end(), text.continuations[i].tokens.begin(), text.continuations[i].tokens.end());
    EXPECT_EQ(whole, windows[i]);
  }
  Progress progress;
  const auto set = MakeProbeSet(text.prompts, 12, text.continuations, workspace->get(), &progress);
  ASSERT_TRUE(set.ok()) << set.status();
  const Assignment assignment((*model).components().size(), *ParseFormat("int8"));
  const auto evaluation = set->evaluator->EvaluateFromScratch(assignment);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  for (const ProbeResult& result : *evaluation) {
    EXPECT_EQ(result.tokens, 12);
    EXPECT_GT(result.nll_sum, 0);
  }
}

}  // namespace
}  // namespace bitbudget
