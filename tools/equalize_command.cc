#include <cstdio>
#include <memory>
#include <string>

#include "planner/jobs/equalize_job.h"
#include "runtime/base/json_text.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct EqualizeFlags {
  WorkspaceFlags workspace;
  std::string format;
  std::string out;
  std::string dtype = "f32";
  int64_t probe_count = 16;
  int iterations = 20;
  bool json = false;
};

nlohmann::ordered_json Json(const EqualizeFlags& flags, const EqualizeReport& report) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerEqualization& layer : report.layers) {
    layers.push_back({{"error_before", layer.error_before},
                      {"error_after", layer.error_after},
                      {"held_error_before", layer.held_error_before},
                      {"held_error_after", layer.held_error_after}});
  }
  return {{"out", flags.out},
          {"format", flags.format},
          {"tokens", report.tokens},
          {"held_tokens", report.held_tokens},
          {"layers", layers},
          {"kl_folded", report.divergence},
          {"kl_folded_max", report.largest_divergence}};
}

void Print(const EqualizeFlags& flags, const EqualizeReport& report) {
  std::printf("relative output error of layers in %s: on %lld tokens, and on %lld held aside\n",
              flags.format.c_str(),
              static_cast<long long>(report.tokens),
              static_cast<long long>(report.held_tokens));
  std::printf("layer     before      after     before      after\n");
  for (size_t b = 0; b < report.layers.size(); ++b) {
    const LayerEqualization& layer = report.layers[b];
    std::printf("%5zu %10.3e %10.3e %10.3e %10.3e%s\n",
                b,
                layer.error_before,
                layer.error_after,
                layer.held_error_before,
                layer.held_error_after,
                layer.held_error_after < layer.held_error_before ? "" : "  unchanged");
  }
  std::printf(
      "%s: its KL from the original is %.3g nats per token on held-out text, %.3g at most\n",
      flags.out.c_str(),
      report.divergence,
      report.largest_divergence);
}

absl::Status RunEqualize(const EqualizeFlags& flags) {
  EqualizeJobOptions options;
  const absl::StatusOr<Format> format = ParseFormat(flags.format);
  if (!format.ok()) return UsageError(format.status());
  options.format = *format;
  if (flags.dtype != "f32" && flags.dtype != "stored") {
    return UsageError(UnknownName("dtype", flags.dtype, {"f32", "stored"}));
  }
  if (flags.dtype == "stored") options.float_type.reset();
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options());
  options.out = flags.out;
  options.probe_count = flags.probe_count;
  options.iterations = flags.iterations;
  if (absl::Status status = options.Validate(); !status.ok()) return UsageError(status);
  BB_RETURN_IF_ERROR(
      CheckOut({{"--out", flags.out, OutputPath::Kind::kNewFolder}}, flags.workspace.Reads()));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const EqualizeReport report,
                      RunEqualizeJob(*model, options, ProcessProgress()));
  if (flags.json) {
    std::printf("%s\n", DumpJson(Json(flags, report), 2).c_str());
  } else {
    Print(flags, report);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEqualizeCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "equalize",
      "Write the same model with its channels equalized, so that it loses less in a format",
      {"equalize MODEL --format int4-g64 -o folder -t book.txt"});
  auto flags = std::make_shared<EqualizeFlags>();
  command->add_option("--format", flags->format, "Format that the layers' matrices will get")
      ->required();
  command->add_option("-o,--out", flags->out, "New folder for the Hugging Face checkpoint")
      ->required();
  command
      ->add_option("--dtype",
                   flags->dtype,
                   "Type of the folder's weights: f32, or stored, the checkpoint's own, which "
                   "rounds once more")
      ->capture_default_str();
  command->add_option("--probes", flags->probe_count, "Calibration sequences")
      ->capture_default_str()
      ->check(CLI::Range(4, 1 << 20));
  command
      ->add_option(
          "--iterations", flags->iterations, "Gradient steps after the search over scale ratios")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  flags->workspace.AddTo(command, {.probes = true, .activations = true});
  Heading(command, "Output");
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunEqualize(*flags); });
}

}  // namespace bitbudget
