#include "tools/command.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/run_directory.h"
#include "plans/fit_lines.h"
#include "plans/targets/target.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/status_macros.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

constexpr absl::string_view kUsagePayload = "bitbudget/usage";
constexpr absl::string_view kSilentPayload = "bitbudget/silent";

bool is_quiet = false;

absl::Status& MutableCommandStatus() {
  static absl::Status status;
  return status;
}

nlohmann::ordered_json IntervalJson(const Interval& interval) {
  return nlohmann::ordered_json::array({interval.low, interval.high});
}

}  // namespace

absl::Status UsageError(absl::Status status) {
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

absl::Status InOption(absl::string_view option, absl::Status status) {
  if (status.ok()) return status;
  return UsageError(absl::Status(status.code(), absl::StrCat(option, ": ", status.message())));
}

absl::Status SilentError(absl::Status status) {
  status.SetPayload(kSilentPayload, absl::Cord());
  return status;
}

bool IsSilentError(const absl::Status& status) {
  return status.GetPayload(kSilentPayload).has_value();
}

Progress* ProcessProgress() {
  static ProgressBar bar([] {
    ProgressBar::Options options = ProgressBar::ForStderr();
    if (is_quiet) options.out = nullptr;
    return options;
  }());
  return &bar;
}

int OutputWidth() {
  winsize size;
  const bool known = isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return known ? size.ws_col : 0;
}

void PrintFitting(const std::string& text, int hang) {
  std::printf("%s", FitLines(text, OutputWidth(), hang).c_str());
}

void SetQuiet(bool quiet) { is_quiet = quiet; }

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

std::string TargetNames() {
  std::string names;
  for (const TargetProfile* target : Targets()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", target->name());
  }
  return names;
}

void AddCalibrationOption(CLI::App* app, std::string* path) {
  app->add_option(
      "--calibration",
      *path,
      "Text that the encoder learns from; for a plan the file that it was calibrated on");
}

absl::Status CheckOut(const std::vector<OutputPath>& writes,
                      const std::vector<std::string>& reads) {
  for (const OutputPath& output : writes) {
    if (output.path.empty()) {
      return UsageError(absl::InvalidArgumentError(absl::StrCat(output.option, " is empty")));
    }
    if (output.path == "-") {
      return UsageError(absl::InvalidArgumentError(absl::StrCat(
          output.option,
          " -: standard output cannot hold it; name a file (./- for one of that name)")));
    }
  }
  if (absl::Status status = CheckOutputs(writes, reads); !status.ok()) return UsageError(status);
  for (const OutputPath& output : writes) {
    if (output.kind == OutputPath::Kind::kFile) BB_RETURN_IF_ERROR(CheckWritable(output.path));
  }
  return absl::OkStatus();
}

void AddRunStore(const std::string& run_dir, std::vector<OutputPath>* writes) {
  if (run_dir.empty()) return;
  writes->push_back({"--run-dir", run_dir, OutputPath::Kind::kStore});
  for (const std::string& file : RunStoreFiles(run_dir)) {
    writes->push_back({"--run-dir", file, OutputPath::Kind::kStore});
  }
}

std::string RecoveredFileBeside(const plans::Plan& plan, const std::string& plan_path) {
  return RecoveredFileOf(plan, std::filesystem::path(plan_path).parent_path().string());
}

nlohmann::ordered_json MetricsJson(const Metrics& metrics) {
  nlohmann::ordered_json json;
  json["fdt_mean"] = metrics.fdt_mean.value;
  json["fdt_ci"] = IntervalJson(metrics.fdt_mean.interval);
  json["fdt_75"] = metrics.fdt_75.value;
  json["fdt_75_ci"] = IntervalJson(metrics.fdt_75.interval);
  json["sdt_mean"] = metrics.sdt_mean.value;
  json["sdt_ci"] = IntervalJson(metrics.sdt_mean.interval);
  json["dppl"] = metrics.dppl.value;
  json["dppl_ci"] = IntervalJson(metrics.dppl.interval);
  json["kl_mean"] = metrics.kl_mean.value;
  json["kl_ci"] = IntervalJson(metrics.kl_mean.interval);
  json["top1_agreement"] = metrics.top1.value;
  json["top1_ci"] = IntervalJson(metrics.top1.interval);
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

nlohmann::ordered_json TextDivergenceJson(const std::optional<TextDivergence>& text) {
  nlohmann::ordered_json json;
  for (const char* name :
       {"text_kl", "text_kl_ci", "text_kl_999", "text_kl_999_ci", "text_top1", "text_top1_ci"}) {
    json[name] = nullptr;
  }
  if (!text.has_value()) return json;
  json["text_kl"] = text->kl.value;
  json["text_kl_ci"] = IntervalJson(text->kl.interval);
  if (text->kl_999.has_value()) {
    json["text_kl_999"] = text->kl_999->value;
    json["text_kl_999_ci"] = IntervalJson(text->kl_999->interval);
  }
  json["text_top1"] = text->top1.value;
  json["text_top1_ci"] = IntervalJson(text->top1.interval);
  return json;
}

nlohmann::ordered_json PerplexityJson(const std::optional<TextPerplexity>& text) {
  nlohmann::ordered_json json = {{"ppl_reference", nullptr}, {"ppl_candidate", nullptr}};
  if (!text.has_value()) return json;
  json["ppl_reference"] = text->reference.value;
  json["ppl_candidate"] = text->candidate.value;
  json["ppl_reference_ci"] = IntervalJson(text->reference.interval);
  json["ppl_candidate_ci"] = IntervalJson(text->candidate.interval);
  return json;
}

void SetBody(CLI::App* command, std::function<absl::Status()> run) {
  command->callback([run = std::move(run)] { MutableCommandStatus() = run(); });
}

const absl::Status& CommandStatus() { return MutableCommandStatus(); }

}  // namespace bitbudget
