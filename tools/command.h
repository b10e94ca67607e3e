#ifndef BITBUDGET_TOOLS_COMMAND_H_
#define BITBUDGET_TOOLS_COMMAND_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/evaluate_job.h"
#include "planner/workspace/outputs.h"
#include "planner/workspace/workspace.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"

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

// Marks an error that another rank of the job prints.
absl::Status SilentError(absl::Status status);
bool IsSilentError(const absl::Status& status);

// Options that several commands share, and what they stand for.
struct ModelOption {
  std::string path;
  int threads = 0;  // 0: all cores

  void AddTo(CLI::App* app);
  int Threads() const;
  absl::StatusOr<std::unique_ptr<Model>> Load() const;
};

struct MemoryFlags {
  std::string memory;
  std::string spill_directory = "/tmp";

  void AddTo(CLI::App* app);
  // The limit in bytes; a wrong one is a usage error.
  absl::StatusOr<int64_t> Limit() const;
};

struct ProbeFlags {
  std::string text;
  std::string prompts;
  int64_t prefix = 100;
  int64_t completion = 100;
  uint64_t seed = 0;

  void AddTo(CLI::App* app);
  absl::StatusOr<ProbeOptions> Options() const;
};

// "1,2,3" as token ids. Errors name the text.
absl::StatusOr<std::vector<int32_t>> ParseTokens(const std::string& text);

// "llama.cpp, ik_llama, ...": what --to and --target take.
std::string TargetNames();

// --calibration: the text that a plan's encoder learned from.
void AddCalibrationOption(CLI::App* app, std::string* path);

// To be asked before any work: whether a command can write what it is to write, and replaces
// nothing of what it reads (planner/workspace/outputs.h). Every command with an output lists both
// here.
absl::Status CheckOut(const std::vector<OutputPath>& writes, const std::vector<std::string>& reads);

// What --activations says; when it is empty, what the plan was validated with, else int16.
absl::StatusOr<Activations> ChooseActivations(const std::string& flag,
                                              const std::optional<plans::Plan>& plan);

// The weights to run: the plan's, or those of the unmodified model.
// `calibration`: of CalibrateFromPlan.
absl::StatusOr<AssignmentWeights> PlannedWeights(const std::optional<plans::Plan>& plan,
                                                 const std::string& calibration,
                                                 Workspace* bench);

// Metrics as the fields that `eval --json` documents.
nlohmann::ordered_json MetricsJson(const plans::Metrics& metrics);

// limit and the parts of the estimate, in bytes.
nlohmann::ordered_json MemoryJson(const MemoryPlan& memory);

// ppl_reference, ppl_candidate and their intervals; nulls where there was no text.
nlohmann::ordered_json PerplexityJson(const plans::TextPerplexity* text);

// The progress display of the process: a bar on a terminal, plain lines elsewhere.
Progress* ProcessProgress();

// Registers `run` as the body of a subcommand; its status becomes the exit code.
void SetBody(CLI::App* command, std::function<absl::Status()> run);

// The status of the subcommand that ran.
const absl::Status& CommandStatus();

void AddPlanCommand(CLI::App* app);
void AddScoreCommand(CLI::App* app);
void AddEvalCommand(CLI::App* app);
void AddGenerateCommand(CLI::App* app);
void AddLogitsCommand(CLI::App* app);
void AddTokenizeCommand(CLI::App* app);
void AddShowCommand(CLI::App* app);
void AddDiffCommand(CLI::App* app);
void AddRunsCommand(CLI::App* app);
void AddApplyCommand(CLI::App* app);
void AddEqualizeCommand(CLI::App* app);
void AddExportCommand(CLI::App* app);
void AddFormatsCommand(CLI::App* app);
void AddLintCommand(CLI::App* app);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_COMMAND_H_
