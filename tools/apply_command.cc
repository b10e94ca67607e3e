#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/apply_job.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

struct ApplyFlags {
  ModelOption model;
  std::string plan;
  std::string calibration;
  std::string out;
  std::string weights = "dequantized";
  std::string dtype;
  bool json = false;
};

absl::Status RunApply(const ApplyFlags& flags) {
  const OutputPath::Kind kind =
      absl::EndsWith(flags.out, ".gguf") ? OutputPath::Kind::kFile : OutputPath::Kind::kNewFolder;
  BB_RETURN_IF_ERROR(
      CheckOut({{"--out", flags.out, kind}}, {flags.model.path, flags.plan, flags.calibration}));
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(flags.plan));
  ApplyOptions options;
  options.out = flags.out;
  options.calibration = flags.calibration;
  options.threads = flags.model.Threads();
  if (flags.weights != "dequantized" && flags.weights != "compressed-tensors") {
    return UsageError(absl::InvalidArgumentError(absl::StrCat(
        "--weights is \"", flags.weights, "\", must be dequantized or compressed-tensors")));
  }
  options.compressed = flags.weights == "compressed-tensors";
  if (!flags.dtype.empty()) {
    const absl::StatusOr<Format> type = ParseFormat(flags.dtype);
    if (!type.ok() || !type->IsFloat() || type->IsSparse()) {
      return UsageError(absl::InvalidArgumentError(
          absl::StrCat("--dtype is \"", flags.dtype, "\", must be f32, f16 or bf16")));
    }
    options.float_type = *type;
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.model.Load());
  BB_ASSIGN_OR_RETURN(const ApplySummary summary,
                      ApplyPlan(*model, plan, options, ProcessProgress()));
  if (flags.json) {
    std::printf("%s\n",
                nlohmann::ordered_json{{"out", flags.out},
                                       {"file_bytes", summary.file_bytes},
                                       {"weight_bytes", summary.weight_bytes},
                                       {"bits_per_weight", summary.bits_per_weight}}
                    .dump()
                    .c_str());
  } else {
    std::printf("%s: %lld bytes, of which weights %lld (%.3f bits per weight)\n",
                flags.out.c_str(),
                static_cast<long long>(summary.file_bytes),
                static_cast<long long>(summary.weight_bytes),
                summary.bits_per_weight);
  }
  return absl::OkStatus();
}

}  // namespace

void AddApplyCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand(
      "apply", "Write the model that a plan describes: a GGUF file or a Hugging Face folder");
  auto flags = std::make_shared<ApplyFlags>();
  flags->model.AddTo(command);
  command->add_option("--plan", flags->plan, "Plan file (made for this model)")->required();
  AddCalibrationOption(command, &flags->calibration);
  command
      ->add_option("--out",
                   flags->out,
                   "FILE.gguf: a model for llama.cpp with the plan's codes; or a new folder: a "
                   "Hugging Face checkpoint")
      ->required();
  command
      ->add_option("--weights",
                   flags->weights,
                   "Of a folder: dequantized (any program loads it) or compressed-tensors (integer "
                   "formats as packed codes)")
      ->capture_default_str();
  command->add_option("--dtype",
                      flags->dtype,
                      "Of a folder's dequantized weights: f32 (exact), f16 or bf16; default: the "
                      "checkpoint's own");
  command->add_flag("--json", flags->json, "Print a summary as JSON");
  SetBody(command, [flags] { return RunApply(*flags); });
}

}  // namespace bitbudget
