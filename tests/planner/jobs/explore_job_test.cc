#include "planner/jobs/explore_job.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "planner/jobs/same_model.h"
#include "planner/runs/shared_probes.h"
#include "tests/planner/jobs/apply_test_util.h"

namespace bitbudget {
namespace {

constexpr int64_t kContext = 30;

PlanOptions GgufJob(const std::string& budget = "6bpw") {
  PlanOptions options = SmallJob("greedy", budget);
  options.constraints.target = *FindTarget("llama.cpp");
  options.constraints.formats = *ParseFormatList("q4_0,q8_0");
  options.workspace.probes.prefix_tokens = 20;  // text too
  return options;
}

// The probes of a workspace, and what files and assignments measure on them.
struct Measured {
  Measured(const Model& model, const WorkspaceOptions& options) : model(model) {
    maker = *ProbeMaker::Create(model, options.probes);
    workspace = *Workspace::Create(model, options, maker->context(), memory);
    probes =
        *SharedProbes::Create(*maker, ProbeRole::kHeldOut, 4, workspace.get(), &run, &progress);
  }

  const Model& model;
  MemoryPlan memory = UnplannedMemory();
  Progress progress;
  bitbudget::Run run;
  std::unique_ptr<ProbeMaker> maker;
  std::unique_ptr<Workspace> workspace;
  std::unique_ptr<SharedProbes> probes;
};

void ExpectSame(const Evaluation& a, const Evaluation& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].fdt, b[i].fdt);
    EXPECT_EQ(a[i].kl_sum, b[i].kl_sum);
    EXPECT_EQ(a[i].nll_sum, b[i].nll_sum);
    EXPECT_EQ(a[i].text.kl_sum, b[i].text.kl_sum);
    EXPECT_EQ(a[i].text.misses, b[i].text.misses);
  }
}

TEST(ExploreJobTest, TheFileOfAPlanMeasuresWhatThePlanDoesInEveryFamily) {
  for (const Architecture architecture : AllArchitectures()) {
    TinyModelOptions tiny = SmallModelOptions();
    tiny.architecture = architecture;
    tiny.tied = architecture == Architecture::kQwen3;
    if (architecture == Architecture::kGemma3) tiny.layers = 6;  // one that sees everything
    if (architecture == Architecture::kLlama) {
      tiny.rope_scaling =
          R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
              "original_max_position_embeddings": 64})";
    }
    if (architecture == Architecture::kGemma2 || architecture == Architecture::kGemma3) {
      tiny.fields = R"({"query_pre_attn_scalar": 16})";  // GGUF has no other scale than heads'
    }
    const LoadedModel model(tiny);
    TempDir folder;
    Progress progress;
    PlanOptions job = GgufJob();
    if (architecture == Architecture::kMistral) {
      job.workspace.activations = Activations::kLlamaCpp;
    }
    const auto plan = RunPlanJob(*model, job, &progress);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status applied = Apply(*model, *plan, folder.File("a.gguf"));
    ASSERT_TRUE(applied.ok()) << applied;
    const std::unique_ptr<Model> file = Load(folder.File("a.gguf"));
    SCOPED_TRACE(file->config().architecture_name);
    EXPECT_TRUE(CheckSameModel(*model, *file, kContext).ok())
        << CheckSameModel(*model, *file, kContext);
    const Measured with(*model, job.workspace);
    const auto own = with.probes->EvaluateModel(*file);
    ASSERT_TRUE(own.ok()) << own.status();
    const auto planned = with.probes->EvaluateFromScratch(StoredAssignment(*file));
    ASSERT_TRUE(planned.ok()) << planned.status();
    EXPECT_GT(Compute(Statistic::kKlMean, *own), 0);
    ExpectSame(*own, *planned);
  }
}

TEST(ExploreJobTest, NormsAreTheFilesAndMemoryDoesNotMatter) {
  const LoadedModel model;
  TestCheckpoint changed = MakeTinyCheckpoint(SmallModelOptions());
  const auto change = [&](const std::string& name) {
    TestTensor& tensor = changed.Tensor(name);
    std::swap(tensor.bytes[0], tensor.bytes[8]);
    std::swap(tensor.bytes[1], tensor.bytes[9]);
  };
  double last = -1;
  for (const char* name : {"", "model.norm.weight", "model.layers.1.input_layernorm.weight"}) {
    if (*name != '\0') change(name);
    TempDir folder;
    WriteCheckpoint(changed, folder.path());
    const std::unique_ptr<Model> other = Load(folder.path());
    const Measured ample(*model, GgufJob().workspace);
    const auto evaluation = ample.probes->EvaluateModel(*other);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    const double kl = Compute(Statistic::kKlMean, *evaluation);
    if (*name == '\0') {
      EXPECT_LT(std::abs(kl), 1e-12);  // the model itself
    } else {
      EXPECT_GT(kl, 1e-6) << name;
      EXPECT_NE(kl, last) << name;
    }
    last = kl;
  }
}

// The longest share of a bank that another one may have.
TEST(ExploreJobTest, ABankLendsWhatItCanFree) {
  const LoadedModel model;
  Measured with(*model, GgufJob().workspace);
  EncodingBank* const bank = with.workspace->bank();
  ASSERT_TRUE(
      with.probes->EvaluateFromScratch(*UniformAssignment(*ParseFormat("q8_0"), *model)).ok());
  const int64_t held = bank->counts().held_bytes;
  EXPECT_EQ(*bank->Lend(1000), 1000);
  EXPECT_EQ(bank->counts().held_bytes, held);
  EXPECT_EQ(*bank->Lend(with.memory.weights), with.memory.weights);
  EXPECT_EQ(bank->counts().held_bytes, 0);
  EXPECT_GT(bank->counts().spilled_bytes, 0);
  EXPECT_TRUE(
      with.probes->EvaluateFromScratch(*UniformAssignment(*ParseFormat("q8_0"), *model)).ok());
}

// Counts what runs while files are measured.
class FilePasses : public Progress {
 public:
  void Begin(absl::string_view phase, int64_t) override { in_files_ = phase == "others"; }
  void End() override { in_files_ = false; }
  void Within(double) override { steps += in_files_; }

  int steps = 0;

 private:
  bool in_files_ = false;
};

TEST(ExploreJobTest, FilesArePointsBesideTheCurve) {
  const LoadedModel model;
  TempDir folder;
  ExploreOptions options;
  options.plan = GgufJob();
  options.plan.run_dir = folder.File("run");
  for (const char* budget : {"5bpw", "6.5bpw", "8bpw"}) {
    options.budgets.push_back(*ParseBudget(budget));
  }
  Progress progress;
  const auto alone = RunExploreJob(*model, options, &progress);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(Apply(*model, alone->outcomes[1].plan, folder.File("middle.gguf")).ok());
  ASSERT_TRUE(Apply(*model, PlanOf(*model, "q4_0"), folder.File("small.gguf")).ok());
  const std::unique_ptr<Model> middle = Load(folder.File("middle.gguf"));
  const std::unique_ptr<Model> small = Load(folder.File("small.gguf"));
  options.files = {{"middle.gguf", middle.get()}, {"small.gguf", small.get()}};
  FilePasses first;
  const auto report = RunExploreJob(*model, options, &first);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->complete);
  EXPECT_GT(first.steps, 0);
  ASSERT_EQ(report->points.size(), alone->points.size() + 2);
  const size_t at = alone->points.size();
  const ExplorePoint& file = report->points[at];
  EXPECT_EQ(file.method, "file");
  EXPECT_EQ(file.label, "middle.gguf");
  EXPECT_EQ(file.budget, "");
  EXPECT_FALSE(file.outcome.has_value());
  EXPECT_EQ(file.assignment, report->points[1].assignment);
  EXPECT_EQ(file.size_bytes, report->points[1].size_bytes);
  ExpectSame(file.evaluation, report->points[1].evaluation);
  // It is as large as one point of the curve; the other file is smaller than all.
  std::vector<std::pair<size_t, size_t>> compared;
  for (const ExploreComparison& comparison : report->comparisons) {
    if (comparison.b < at) continue;
    compared.emplace_back(comparison.a, comparison.b);
    if (comparison.b == at) {
      EXPECT_EQ(comparison.text_kl.low, 0);
      EXPECT_EQ(comparison.text_kl.high, 0);
    }
  }
  const std::vector<std::pair<size_t, size_t>> wanted = {{1, at}, {0, at + 1}};
  EXPECT_EQ(compared, wanted);

  FilePasses again;
  const auto stored = RunExploreJob(*model, options, &again);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(again.steps, 0);
  ExpectSame(stored->points[at + 1].evaluation, report->points[at + 1].evaluation);
}

TEST(ExploreJobTest, AnotherModelIsRefusedBeforeAnyWork) {
  const LoadedModel model;
  const auto refusal = [&](auto change, const char* what) {
    TinyModelOptions other = SmallModelOptions(2);
    change(&other);
    const LoadedModel file(other);
    ExploreOptions options;
    options.plan = GgufJob();
    options.budgets = {*ParseBudget("6bpw")};
    options.files = {{"file", file.model.get()}};
    CountingProgress progress;
    const absl::Status status = RunExploreJob(*model, options, &progress).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), what)) << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), file.files.path())) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), model.files.path())) << status;
    EXPECT_EQ(progress.begins(), 0);
  };
  using Options = TinyModelOptions;
  refusal([](Options* o) { o->architecture = Architecture::kQwen3; }, "the architecture is qwen3");
  refusal([](Options* o) { o->layers = 3; }, "the number of layers is 3 here and 2 there");
  refusal([](Options* o) { o->vocab = 96; }, "the vocabulary is 96 here and 64 there");
  refusal([](Options* o) { o->ffn = 128; }, "the intermediate size is 128 here and 96 there");
  refusal([](Options* o) { o->tied = true; }, "a head tied to the embedding is on here");
  refusal([](Options* o) { o->attention_bias = true; }, "biases of q, k and v is on here");
  refusal([](Options* o) { o->rope_theta = 20000; }, "frequency 1 of the rotary embedding");
  refusal([](Options* o) { o->fields = R"({"rms_norm_eps": 0.001})"; }, "the epsilon of norms");
  const LoadedModel same(SmallModelOptions(2));
  EXPECT_TRUE(CheckSameModel(*model, *same, kContext).ok());
}

// A window that no probe is longer than changes nothing.
TEST(ExploreJobTest, WindowsMatterWhereTheyAreShorterThanWhatIsRun) {
  TinyModelOptions with = SmallModelOptions();
  with.architecture = Architecture::kMistral;
  const LoadedModel plain(with);
  with.sliding_window = 25;
  const LoadedModel window(with);
  EXPECT_TRUE(CheckSameModel(*plain, *window, 25).ok());
  EXPECT_TRUE(absl::StrContains(CheckSameModel(*plain, *window, 26).message(),
                                "the attention window of layer 0 is 25 positions here and 26"));
}

}  // namespace
}  // namespace bitbudget
