#include "tools/command.h"

#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "planner/runs/calibration.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

constexpr absl::string_view kUsagePayload = "bitbudget/usage";
constexpr absl::string_view kSilentPayload = "bitbudget/silent";

absl::Status& MutableCommandStatus() {
  static absl::Status status;
  return status;
}

nlohmann::ordered_json IntervalJson(const plans::Interval& interval) {
  return nlohmann::ordered_json::array({interval.low(), interval.high()});
}

}  // namespace

absl::Status UsageError(absl::Status status) {
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

absl::Status SilentError(absl::Status status) {
  status.SetPayload(kSilentPayload, absl::Cord());
  return status;
}

bool IsSilentError(const absl::Status& status) {
  return status.GetPayload(kSilentPayload).has_value();
}

Progress* ProcessProgress() {
  static ProgressBar bar(ProgressBar::ForStderr());
  return &bar;
}

void ModelOption::AddTo(CLI::App* app) {
  app->add_option("MODEL", path, "Model folder in Hugging Face layout, or a .gguf file")
      ->required();
  app->add_option("--threads", threads, "Threads to use (default: all cores)")
      ->check(CLI::Range(1, 1024));
}

int ModelOption::Threads() const { return threads > 0 ? threads : DefaultThreads(); }

absl::StatusOr<std::unique_ptr<Model>> ModelOption::Load() const {
  return Model::Load(path, Threads());
}

void MemoryFlags::AddTo(CLI::App* app) {
  app->add_option("--memory",
                  memory,
                  "Memory to use, e.g. 16GiB (default: three quarters of what is available)");
  app->add_option(
         "--spill-dir", spill_directory, "Directory for encodings that memory has no room for")
      ->capture_default_str();
}

absl::StatusOr<int64_t> MemoryFlags::Limit() const {
  if (memory.empty()) return DefaultMemoryLimit();
  const absl::StatusOr<int64_t> limit = ParseMemory(memory);
  if (!limit.ok()) return UsageError(limit.status());
  return limit;
}

void ProbeFlags::AddTo(CLI::App* app) {
  CLI::Option* text_option =
      app->add_option("--text", text, "Take probes from this text file (windows of it)");
  app->add_option("--prompts", prompts, "Take probes from this file, one prompt per line")
      ->excludes(text_option);
  app->add_option("--prefix", prefix, "Prompt tokens per probe")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app->add_option("--completion", completion, "Completion tokens per probe")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app->add_option("--seed", seed, "Seed of probes and random orders")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);  // a negative one would wrap around
}

absl::StatusOr<ProbeOptions> ProbeFlags::Options() const {
  ProbeOptions options;
  if (!text.empty()) options.source = ProbeSource::kText;
  if (!prompts.empty()) options.source = ProbeSource::kPrompts;
  options.path = text.empty() ? prompts : text;
  options.prefix_tokens = prefix;
  options.completion_tokens = completion;
  options.seed = seed;
  return options;
}

absl::StatusOr<std::vector<int32_t>> ParseTokens(const std::string& text) {
  std::vector<int32_t> tokens;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(part, &token)) {
      return UsageError(absl::InvalidArgumentError(
          absl::StrCat("--tokens '", text, "': '", part, "' is not a token id")));
    }
    tokens.push_back(token);
  }
  return tokens;
}

void AddCalibrationOption(CLI::App* app, std::string* path) {
  app->add_option(
      "--calibration",
      *path,
      "The text that the encoder learns from, if it does: of a plan the one that it was "
      "calibrated on (its --text or --prompts); default: --text");
}

absl::Status CheckOut(const std::vector<OutputPath>& writes,
                      const std::vector<std::string>& reads) {
  for (const OutputPath& output : writes) {
    if (!output.path.empty()) continue;
    return UsageError(absl::InvalidArgumentError(absl::StrCat(output.option, " is empty")));
  }
  if (absl::Status status = CheckOutputs(writes, reads); !status.ok()) return UsageError(status);
  for (const OutputPath& output : writes) {
    if (output.kind == OutputPath::Kind::kFile) BB_RETURN_IF_ERROR(CheckWritable(output.path));
  }
  return absl::OkStatus();
}

absl::StatusOr<Activations> ChooseActivations(const std::string& flag,
                                              const std::optional<plans::Plan>& plan) {
  if (flag.empty()) {
    return plan.has_value() ? ParseActivations(plan->options().activations()) : Activations::kInt16;
  }
  const absl::StatusOr<Activations> activations = ParseActivations(flag);
  if (!activations.ok()) return UsageError(activations.status());
  return activations;
}

absl::StatusOr<AssignmentWeights> PlannedWeights(const std::optional<plans::Plan>& plan,
                                                 const std::string& calibration,
                                                 Workspace* bench) {
  if (!plan.has_value()) return bench->bank()->Reference();
  BB_ASSIGN_OR_RETURN(const Assignment assignment, AssignmentOfPlan(*plan, bench->model()));
  BB_RETURN_IF_ERROR(CalibrateFromPlan(*plan, calibration, bench, ProcessProgress()));
  return bench->bank()->Weights(assignment);
}

nlohmann::ordered_json MetricsJson(const plans::Metrics& metrics) {
  nlohmann::ordered_json json;
  json["fdt_mean"] = metrics.fdt_mean();
  json["fdt_ci"] = IntervalJson(metrics.fdt_interval());
  json["fdt_75"] = metrics.fdt_75();
  json["fdt_75_ci"] = IntervalJson(metrics.fdt_75_interval());
  json["sdt_mean"] = metrics.sdt_mean();
  json["sdt_ci"] = IntervalJson(metrics.sdt_interval());
  json["dppl"] = metrics.dppl();
  json["dppl_ci"] = IntervalJson(metrics.dppl_interval());
  json["kl_mean"] = metrics.kl_mean();
  json["kl_ci"] = IntervalJson(metrics.kl_interval());
  json["top1_agreement"] = metrics.top1_agreement();
  return json;
}

nlohmann::ordered_json MemoryJson(const MemoryPlan& memory) {
  return {{"limit", memory.limit},
          {"estimate", memory.total},
          {"weights", memory.weights},
          {"states", memory.states},
          {"logits", 2 * memory.logits},
          {"streams", memory.streams},
          {"scratch", memory.scratch + memory.fixed}};
}

nlohmann::ordered_json PerplexityJson(const plans::TextPerplexity* text) {
  nlohmann::ordered_json json = {{"ppl_reference", nullptr}, {"ppl_candidate", nullptr}};
  if (text == nullptr) return json;
  json["ppl_reference"] = text->reference();
  json["ppl_candidate"] = text->plan();
  json["ppl_reference_ci"] = IntervalJson(text->reference_interval());
  json["ppl_candidate_ci"] = IntervalJson(text->plan_interval());
  return json;
}

void SetBody(CLI::App* command, std::function<absl::Status()> run) {
  command->callback([run = std::move(run)] { MutableCommandStatus() = run(); });
}

const absl::Status& CommandStatus() { return MutableCommandStatus(); }

}  // namespace bitbudget
