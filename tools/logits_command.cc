#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/tensor/tensor_view.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct LogitsFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string calibration;
  std::string tokens;
  std::string out;
  bool force = false;
};

// Keeps the logits [rows][vocab] of the one sequence of a pass.
class AllLogits final : public PassObserver {
 public:
  AllLogits(int64_t rows, const ModelConfig& config)
      : end_stage_(NumStages(config)), values_(rows * config.vocab_size) {}

  PassNeeds Needs() const override { return {.end_stage = end_stage_, .logits = true}; }

  void Logits(const ObservedRows& x) override {
    std::copy_n(x.values, x.rows * x.width, values_.data() + x.first * x.width);
  }

  std::span<const float> values() const { return values_.span(); }

 private:
  const int end_stage_;
  AlignedBuffer<float> values_;
};

// A float32 [rows, cols] array in NumPy's .npy format, version 1.0.
std::string NpyBytes(std::span<const float> values, int64_t rows, int64_t cols) {
  static_assert(std::endian::native == std::endian::little);
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", cols, "), }");
  // Magic, version and length take 10 bytes; the data starts at a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header.push_back('\n');
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes.push_back(static_cast<char>(header.size() & 0xff));
  bytes.push_back(static_cast<char>(header.size() >> 8));
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return bytes;
}

absl::Status RunLogits(const CLI::App& command, const LogitsFlags& flags) {
  if (const absl::Status status =
          RefuseIdle(command, {{"--calibration", flags.plan.empty(), "it needs --plan"}});
      !status.ok()) {
    return UsageError(status);
  }
  BB_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, ParseTokens(flags.tokens));
  std::optional<plans::Plan> plan;
  if (!flags.plan.empty()) {
    BB_ASSIGN_OR_RETURN(plan, ReadPlan(flags.plan));
  }
  BB_RETURN_IF_ERROR(CheckOut({{"--out", flags.out}},
                              {flags.workspace.model,
                               flags.plan,
                               plan.has_value() ? RecoveredFileBeside(*plan, flags.plan) : "",
                               flags.calibration}));
  BB_RETURN_IF_ERROR(CheckExisting("--out", flags.out, Content::kArray, flags.force));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  const ModelConfig& config = model->config();
  for (const int32_t token : tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--tokens: token ", token, " is outside the vocabulary of ", config.vocab_size));
    }
  }
  const int64_t rows = static_cast<int64_t>(tokens.size());
  BB_ASSIGN_OR_RETURN(const WorkspaceOptions options, flags.workspace.Options(plan, flags.plan));
  BB_ASSIGN_OR_RETURN(const PlannedModel planned,
                      OpenPlannedModel(*model,
                                       plan.has_value() ? &*plan : nullptr,
                                       options,
                                       rows,
                                       flags.calibration,
                                       ProcessProgress()));
  AssignmentWeights weights = planned.workspace->bank()->Weights(planned.assignment);
  AllLogits logits(rows, config);
  TokenPass pass(planned.workspace->transformer(), {&tokens, 1}, options.threads);
  BB_RETURN_IF_ERROR(pass.Observe(&weights, &logits, "logits", ProcessProgress()));
  const int64_t bad = ViewOf(logits.values(), rows, config.vocab_size).FirstNonFinite();
  if (bad >= 0) {
    return absl::InvalidArgumentError(absl::StrCat(flags.workspace.model,
                                                   ": the logits of token ",
                                                   bad / config.vocab_size + 1,
                                                   " of --tokens are not finite"));
  }
  return WriteFileAtomically(flags.out, NpyBytes(logits.values(), rows, config.vocab_size));
}

}  // namespace

void AddLogitsCommand(CLI::App* app) {
  CLI::App* command = AddCommand(app,
                                 "logits",
                                 "Write the logits of a token sequence as a NumPy file",
                                 {"logits MODEL --plan plan.pb --tokens 1,370,954 -o logits.npy"});
  auto flags = std::make_shared<LogitsFlags>();
  command->add_option("--plan", flags->plan, "Plan to run (default: the unmodified model)");
  AddCalibrationOption(command, &flags->calibration);
  command->add_option("--tokens", flags->tokens, "Token ids, e.g. 1,2,3")->required();
  command->add_option("-o,--out", flags->out, "File to write: float32 [tokens, vocab]")->required();
  AddForceOption(command, &flags->force);
  flags->workspace.AddTo(command, {.activations = true});
  SetBody(command, [command, flags] { return RunLogits(*command, *flags); });
}

}  // namespace bitbudget
