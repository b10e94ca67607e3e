#ifndef BITBUDGET_TOOLS_COMMAND_H_
#define BITBUDGET_TOOLS_COMMAND_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/measure.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/outputs.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"

namespace bitbudget {

// Exit codes of the command.
enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 2,
  kExitBadInput = 3,
  kExitInfeasible = 4,
  kExitInterrupted = 130,
};

// Marks an error as one of the command line: exit code 2 where other bad input is 3.
absl::Status UsageError(absl::Status status);
bool IsUsageError(const absl::Status& status);

// The error of an option's value as a usage error that names the option; OK stays OK.
absl::Status InOption(absl::string_view option, absl::Status status);
template <typename T>
absl::StatusOr<T> InOption(absl::string_view option, absl::StatusOr<T> value) {
  if (value.ok()) return value;
  return InOption(option, value.status());
}

// Marks an error that another rank of the job prints.
absl::Status SilentError(absl::Status status);
bool IsSilentError(const absl::Status& status);

// "1,2,3" as token ids. Errors name the text.
absl::StatusOr<std::vector<int32_t>> ParseTokens(const std::string& text);

// "llama.cpp, ik_llama, ...": what --to and --target take.
std::string TargetNames();

// Adds --calibration: the text that the encoder learns from.
void AddCalibrationOption(CLI::App* app, std::string* path);

// To be asked before any work: whether a command can write what it is to write, and replaces
// nothing of what it reads (planner/workspace/outputs.h). Every command with an output lists both
// here.
absl::Status CheckOut(const std::vector<OutputPath>& writes, const std::vector<std::string>& reads);

// Adds the store of a run directory and its files; nothing for no directory.
void AddRunStore(const std::string& run_dir, std::vector<OutputPath>* writes);

// Where the codes of a plan lie that was read from `plan_path`; empty unless it was recovered. For
// CheckOut().
std::string RecoveredFileBeside(const plans::Plan& plan, const std::string& plan_path);

// Metrics as the fields that `eval --json` documents.
nlohmann::ordered_json MetricsJson(const Metrics& metrics);

// limit and the parts of the estimate, in bytes.
nlohmann::ordered_json MemoryJson(const MemoryPlan& memory);

// text_kl, text_kl_999, text_top1 and their intervals; nulls where nothing was measured along
// windows.
nlohmann::ordered_json TextDivergenceJson(const std::optional<TextDivergence>& text);

// ppl_reference, ppl_candidate and their intervals; nulls without text.
nlohmann::ordered_json PerplexityJson(const std::optional<TextPerplexity>& text);

// The columns of the terminal that standard output is; 0 where it is none.
int OutputWidth();

// Prints text for people so that it fits the terminal: longer lines go on after `hang` spaces.
void PrintFitting(const std::string& text, int hang = 2);

// The progress display of the process: a bar on a terminal, plain lines elsewhere, nothing where
// SetQuiet() was called with true before.
Progress* ProcessProgress();
void SetQuiet(bool quiet);

// Registers `run` as the body of a subcommand; its status becomes the exit code.
void SetBody(CLI::App* command, std::function<absl::Status()> run);

// The status of the subcommand that ran.
const absl::Status& CommandStatus();

void AddFitCommand(CLI::App* app);
void AddPlanCommand(CLI::App* app);
void AddScoreCommand(CLI::App* app);
void AddEvalCommand(CLI::App* app);
void AddGenerateCommand(CLI::App* app);
void AddLogitsCommand(CLI::App* app);
void AddTokenizeCommand(CLI::App* app);
void AddShowCommand(CLI::App* app);
void AddDiffCommand(CLI::App* app);
void AddExploreCommand(CLI::App* app);
void AddRunsCommand(CLI::App* app);
void AddApplyCommand(CLI::App* app);
void AddEqualizeCommand(CLI::App* app);
void AddRecoverCommand(CLI::App* app);
void AddExportCommand(CLI::App* app);
void AddFormatsCommand(CLI::App* app);
void AddLintCommand(CLI::App* app);
void AddCompletionCommand(CLI::App* app);
void AddManualCommand(CLI::App* app);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_COMMAND_H_
