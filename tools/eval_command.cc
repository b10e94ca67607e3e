#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/evaluate_job.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct EvalFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string calibration;
  std::string uniform;
  std::vector<std::string> pins;
  int64_t probe_count = EvaluateOptions().probe_count;
  bool fdt_only = false;
  bool json = false;
};

absl::StatusOr<EvaluateOptions> OptionsOf(const EvalFlags& flags) {
  if (flags.plan.empty() && flags.uniform.empty() && flags.pins.empty()) {
    return UsageError(absl::InvalidArgumentError(
        "nothing to evaluate: give --plan, --uniform or --pin (REGEX=FORMAT)"));
  }
  EvaluateOptions options;
  if (!flags.uniform.empty()) {
    BB_ASSIGN_OR_RETURN(options.uniform, InOption("--uniform", ParseFormat(flags.uniform)));
  }
  for (const std::string& text : flags.pins) {
    BB_ASSIGN_OR_RETURN(Constraints::Pin pin, InOption("--pin", ParsePin(text)));
    options.pins.push_back(std::move(pin));
  }
  options.calibration = flags.calibration.empty() ? flags.workspace.text : flags.calibration;
  options.probe_count = flags.probe_count;
  options.fdt_only = flags.fdt_only;
  return options;
}

// The fields of ReportJson that are known without a whole evaluation.
nlohmann::ordered_json FdtJson(const EvaluateReport& report) {
  nlohmann::ordered_json metrics = MetricsJson(report.metrics);
  nlohmann::ordered_json json = {{"size_bytes", report.size_bytes},
                                 {"bits_per_weight", report.bits_per_weight}};
  for (const char* name : {"fdt_mean", "fdt_ci", "fdt_75", "fdt_75_ci"}) json[name] = metrics[name];
  json["memory"] = MemoryJson(report.memory);
  json["completion_tokens"] = report.completion_tokens;
  json["per_probe"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < report.probes.size(); ++i) {
    const Probe& probe = report.probes[i];
    json["per_probe"].push_back(
        {{"prompt_tokens",
          std::vector<int32_t>(probe.tokens.begin(), probe.tokens.begin() + probe.prompt)},
         {"fdt", report.evaluation[i].fdt},
         {"tokens", report.evaluation[i].tokens}});
  }
  return json;
}

nlohmann::ordered_json ReportJson(const EvaluateReport& report) {
  nlohmann::ordered_json json = {{"size_bytes", report.size_bytes},
                                 {"bits_per_weight", report.bits_per_weight}};
  json.update(MetricsJson(report.metrics));
  json.update(TextDivergenceJson(report.text_divergence));
  json.update(PerplexityJson(report.text));
  json["noise_floor"] = MetricsJson(report.noise_floor);
  json["memory"] = MemoryJson(report.memory);
  json["completion_tokens"] = report.completion_tokens;
  json["per_probe"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < report.probes.size(); ++i) {
    const Probe& probe = report.probes[i];
    const ProbeResult& result = report.evaluation[i];
    json["per_probe"].push_back(
        {{"prompt_tokens",
          std::vector<int32_t>(probe.tokens.begin(), probe.tokens.begin() + probe.prompt)},
         {"completion",
          std::vector<int32_t>(probe.tokens.begin() + probe.prompt, probe.tokens.end())},
         {"fdt", result.fdt},
         {"sdt", result.sdt},
         {"tokens", result.tokens},
         {"nll", result.nll_sum},
         {"kl", result.kl_sum},
         {"text",
          {{"tokens", result.text.tokens},
           {"misses", result.text.misses},
           {"nll", result.text.nll_sum},
           {"kl", result.text.kl_sum}}}});
  }
  return json;
}

void PrintRow(const char* name, const Measured& measured, const Measured& floor, const char* unit) {
  std::printf("  %-22s %10.5g   [%.5g, %.5g]   noise floor %.3g %s\n",
              name,
              measured.value,
              measured.interval.low,
              measured.interval.high,
              floor.value,
              unit);
}

void PrintFdt(const EvaluateReport& report) {
  std::printf(
      "size %lld bytes, %.4f bits per weight; %zu held-out probes, up to %lld tokens each\n"
      "  FDT mean %.5g [%.5g, %.5g], 75th percentile %.5g [%.5g, %.5g] tokens\n",
      static_cast<long long>(report.size_bytes),
      report.bits_per_weight,
      report.probes.size(),
      static_cast<long long>(report.completion_tokens),
      report.metrics.fdt_mean.value,
      report.metrics.fdt_mean.interval.low,
      report.metrics.fdt_mean.interval.high,
      report.metrics.fdt_75.value,
      report.metrics.fdt_75.interval.low,
      report.metrics.fdt_75.interval.high);
}

void PrintReport(const EvaluateReport& report) {
  const Metrics& metrics = report.metrics;
  const Metrics& floor = report.noise_floor;
  std::printf(
      "size %lld bytes, %.4f bits per weight; %zu held-out probes, up to %lld tokens each\n",
      static_cast<long long>(report.size_bytes),
      report.bits_per_weight,
      report.probes.size(),
      static_cast<long long>(report.completion_tokens));
  PrintRow("FDT mean", metrics.fdt_mean, floor.fdt_mean, "tokens");
  PrintRow("FDT 75th percentile", metrics.fdt_75, floor.fdt_75, "tokens");
  PrintRow("SDT mean", metrics.sdt_mean, floor.sdt_mean, "tokens");
  PrintRow("divergent perplexity", metrics.dppl, floor.dppl, "");
  PrintRow("KL mean", metrics.kl_mean, floor.kl_mean, "nats/token");
  std::printf("  %-22s %10.5g %%\n", "top-1 agreement", 100 * metrics.top1_agreement);
  if (report.text_divergence.has_value()) {
    const Measured& kl = report.text_divergence->kl;
    const Measured& top1 = report.text_divergence->top1;
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   nats/token, along the prompts\n",
                "text KL",
                kl.value,
                kl.interval.low,
                kl.interval.high);
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   %%\n",
                "text top-1 agreement",
                100 * top1.value,
                100 * top1.interval.low,
                100 * top1.interval.high);
  }
  if (report.text.has_value()) {
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   reference %.5g\n",
                "text perplexity",
                report.text->candidate.value,
                report.text->candidate.interval.low,
                report.text->candidate.interval.high,
                report.text->reference.value);
  }
}

absl::Status RunEval(const EvalFlags& flags) {
  absl::StatusOr<EvaluateOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  if (!flags.plan.empty()) {
    BB_ASSIGN_OR_RETURN(options->plan, ReadPlan(flags.plan));
  }
  BB_ASSIGN_OR_RETURN(options->workspace, flags.workspace.Options(options->plan, flags.plan));
  if (const absl::Status status = options->Validate(); !status.ok()) return UsageError(status);
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const EvaluateReport report,
                      RunEvaluateJob(*model, *options, ProcessProgress()));
  if (flags.json) {
    std::printf("%s\n", DumpJson(flags.fdt_only ? FdtJson(report) : ReportJson(report), 2).c_str());
  } else if (flags.fdt_only) {
    PrintFdt(report);
  } else {
    PrintReport(report);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvalCommand(CLI::App* app) {
  CLI::App* command =
      app->add_subcommand("eval", "Measure a plan or a uniform format on held-out probes and text");
  auto flags = std::make_shared<EvalFlags>();
  CLI::Option_group* what = command->add_option_group("what");
  what->add_option("--plan", flags->plan, "Plan to evaluate");
  AddCalibrationOption(command, &flags->calibration);
  what->add_option("--uniform", flags->uniform, "Format to give every component, e.g. int4-g64");
  what->require_option(0, 1);
  command
      ->add_option("--pin",
                   flags->pins,
                   "REGEX=FORMAT: put components whose name matches in this format, on top of the "
                   "plan, the uniform format or the checkpoint (repeatable)")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--probes",
                   flags->probe_count,
                   "Held-out probes; text KL is measured along their prompts")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  flags->workspace.AddTo(command,
                         {.probes = true, .memory = true, .encoder = true, .activations = true});
  command->add_flag("--fdt-only",
                    flags->fdt_only,
                    "Measure the first divergent token only, and leave a probe where it diverges");
  command->add_flag("--json", flags->json, "Print the result as JSON, with every probe");
  SetBody(command, [flags] { return RunEval(*flags); });
}

}  // namespace bitbudget
