#include "tools/apply_flags.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"

namespace bitbudget {
namespace {

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

}  // namespace

absl::Status CheckApplyOut(const ApplyFlags& flags,
                           const plans::Plan& plan,
                           const std::string& plan_path) {
  const OutputPath::Kind kind =
      absl::EndsWith(flags.out, ".gguf") ? OutputPath::Kind::kFile : OutputPath::Kind::kNewFolder;
  BB_RETURN_IF_ERROR(CheckOut(
      {{"--out", flags.out, kind}},
      {flags.workspace.model, plan_path, RecoveredFileBeside(plan, plan_path), flags.calibration}));
  BB_RETURN_IF_ERROR(CheckName(flags.out));
  if (kind != OutputPath::Kind::kFile) return absl::OkStatus();
  return CheckExisting("--out", flags.out, Content::kGguf, flags.force);
}

absl::StatusOr<ApplyOptions> ApplyOptionsOf(const ApplyFlags& flags,
                                            const plans::Plan& plan,
                                            const std::string& plan_path) {
  ApplyOptions options;
  options.out = flags.out;
  options.calibration = flags.calibration;
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options(plan, plan_path));
  if (flags.weights == "compressed-tensors") {
    options.weights = FolderOutputOptions::Weights::kCompressedTensors;
  } else if (flags.weights == "mlx") {
    options.weights = FolderOutputOptions::Weights::kMlx;
  } else if (flags.weights != "dequantized") {
    return UsageError(UnknownName(
        "kind of weights", flags.weights, {"dequantized", "compressed-tensors", "mlx"}));
  }
  if (!flags.dtype.empty()) {
    const absl::StatusOr<Format> type = ParseFormat(flags.dtype);
    if (!type.ok() || !type->IsFloat() || type->IsSparse()) {
      return UsageError(UnknownName("dtype", flags.dtype, {"f32", "f16", "bf16"}));
    }
    options.float_type = *type;
  }
  return options;
}

void AddApplyOptions(CLI::App* command, ApplyFlags* flags) {
  flags->workspace.AddTo(command, {});
  Heading(command, "Encoder");
  AddCalibrationOption(command, &flags->calibration);
  Heading(command, "Output");
  command
      ->add_option("--weights",
                   flags->weights,
                   "What a folder holds: dequantized weights, which any program loads, "
                   "compressed-tensors, integer formats as packed codes, or mlx, a plan for that "
                   "target as MLX-LM loads it")
      ->capture_default_str();
  command->add_option("--dtype",
                      flags->dtype,
                      "Type of a folder's dequantized weights (with mlx: of all that is not "
                      "quantized): f32 (exact), f16 or bf16 (default: the checkpoint's)");
  AddForceOption(command, &flags->force);
}

}  // namespace bitbudget
