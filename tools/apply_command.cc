#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/apply_job.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct ApplyFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string calibration;
  std::string out;
  std::string weights = "dequantized";
  std::string dtype;
  bool force = false;
  bool json = false;
};

// A mistyped ".gguf" must not become a folder.
absl::Status CheckName(const std::string& out) {
  const std::string suffix = std::filesystem::path(out).extension().string();
  const bool letters =
      suffix.size() > 1 && std::all_of(suffix.begin() + 1, suffix.end(), absl::ascii_isalpha);
  if (!letters || suffix == ".gguf") return absl::OkStatus();
  return UsageError(absl::InvalidArgumentError(absl::StrCat("--out ",
                                                            out,
                                                            ": no format has the suffix ",
                                                            suffix,
                                                            "; write .gguf, or ",
                                                            out,
                                                            "/ for a folder of that name")));
}

absl::Status RunApply(const ApplyFlags& flags) {
  const OutputPath::Kind kind =
      absl::EndsWith(flags.out, ".gguf") ? OutputPath::Kind::kFile : OutputPath::Kind::kNewFolder;
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(flags.plan));
  BB_RETURN_IF_ERROR(CheckOut({{"--out", flags.out, kind}},
                              {flags.workspace.model,
                               flags.plan,
                               RecoveredFileBeside(plan, flags.plan),
                               flags.calibration}));
  BB_RETURN_IF_ERROR(CheckName(flags.out));
  if (kind == OutputPath::Kind::kFile) {
    BB_RETURN_IF_ERROR(CheckExisting("--out", flags.out, Content::kGguf, flags.force));
  }
  ApplyOptions options;
  options.out = flags.out;
  options.calibration = flags.calibration;
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options(plan, flags.plan));
  if (flags.weights == "compressed-tensors") {
    options.weights = FolderOutputOptions::Weights::kCompressedTensors;
  } else if (flags.weights != "dequantized") {
    return UsageError(
        UnknownName("kind of weights", flags.weights, {"dequantized", "compressed-tensors"}));
  }
  if (!flags.dtype.empty()) {
    const absl::StatusOr<Format> type = ParseFormat(flags.dtype);
    if (!type.ok() || !type->IsFloat() || type->IsSparse()) {
      return UsageError(UnknownName("dtype", flags.dtype, {"f32", "f16", "bf16"}));
    }
    options.float_type = *type;
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const ApplySummary summary,
                      ApplyPlan(*model, plan, options, ProcessProgress()));
  if (flags.json) {
    const nlohmann::ordered_json json = {{"out", flags.out},
                                         {"file_bytes", summary.file_bytes},
                                         {"weight_bytes", summary.weight_bytes},
                                         {"bits_per_weight", summary.bits_per_weight}};
    std::printf("%s\n", DumpJson(json).c_str());
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
  CLI::App* command =
      AddCommand(app,
                 "apply",
                 "Write the model that a plan describes: a GGUF file or a Hugging Face folder",
                 {"apply MODEL --plan plan.pb -o model.gguf",
                  "apply MODEL --plan plan.pb -o folder/ --weights compressed-tensors"});
  auto flags = std::make_shared<ApplyFlags>();
  flags->workspace.AddTo(command, {});
  command->add_option("--plan", flags->plan, "Plan for this model")->required();
  AddCalibrationOption(command, &flags->calibration);
  command
      ->add_option("-o,--out",
                   flags->out,
                   "FILE.gguf: a model for llama.cpp with the plan's codes; otherwise a new folder "
                   "with a Hugging Face checkpoint")
      ->required();
  command
      ->add_option("--weights",
                   flags->weights,
                   "What a folder holds: dequantized weights, which any program loads, or "
                   "compressed-tensors, integer formats as packed codes")
      ->capture_default_str();
  command->add_option("--dtype",
                      flags->dtype,
                      "Type of a folder's dequantized weights: f32 (exact), f16 or bf16 (default: "
                      "the checkpoint's)");
  AddForceOption(command, &flags->force);
  command->add_flag("--json", flags->json, "Print a summary as JSON");
  SetBody(command, [flags] { return RunApply(*flags); });
}

}  // namespace bitbudget
