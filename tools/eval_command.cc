#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/evaluate_job.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/eval_report.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct EvalFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string candidate;
  std::string against;
  std::string calibration;
  std::string uniform;
  std::vector<std::string> pins;
  int64_t probe_count = EvaluateOptions().probe_count;
  bool fdt_only = false;
  bool json = false;
};

// What is measured, and what that holds on to.
struct Subject {
  EvaluateOptions options;
  std::string plan_path;
  std::unique_ptr<Model> candidate;
};

// The options that do not depend on what is measured.
EvaluateOptions SharedOptions(const EvalFlags& flags) {
  EvaluateOptions options;
  options.calibration = flags.calibration.empty() ? flags.workspace.text : flags.calibration;
  options.probe_count = flags.probe_count;
  options.fdt_only = flags.fdt_only;
  return options;
}

absl::Status ReadPlanOf(const std::string& path, Subject* subject) {
  subject->plan_path = path;
  BB_ASSIGN_OR_RETURN(subject->options.plan, ReadPlan(path));
  return absl::OkStatus();
}

absl::Status LoadCandidate(const std::string& path, const EvalFlags& flags, Subject* subject) {
  BB_ASSIGN_OR_RETURN(subject->candidate, Model::Load(path, flags.workspace.Threads()));
  subject->options.candidate = subject->candidate.get();
  return absl::OkStatus();
}

absl::StatusOr<Subject> SubjectOf(const EvalFlags& flags) {
  if (flags.plan.empty() && flags.uniform.empty() && flags.candidate.empty() &&
      flags.pins.empty()) {
    return UsageError(absl::InvalidArgumentError(
        "nothing to evaluate: give --plan, --uniform, --candidate or --pin (REGEX=FORMAT)"));
  }
  Subject subject;
  subject.options = SharedOptions(flags);
  if (!flags.uniform.empty()) {
    BB_ASSIGN_OR_RETURN(subject.options.uniform, InOption("--uniform", ParseFormat(flags.uniform)));
  }
  for (const std::string& text : flags.pins) {
    BB_ASSIGN_OR_RETURN(Constraints::Pin pin, InOption("--pin", ParsePin(text)));
    subject.options.pins.push_back(std::move(pin));
  }
  if (!flags.plan.empty()) BB_RETURN_IF_ERROR(ReadPlanOf(flags.plan, &subject));
  if (!flags.candidate.empty()) BB_RETURN_IF_ERROR(LoadCandidate(flags.candidate, flags, &subject));
  return subject;
}

// What --against names: a format, a model, or else a plan.
absl::StatusOr<Subject> RivalOf(const EvalFlags& flags) {
  Subject rival;
  rival.options = SharedOptions(flags);
  if (const absl::StatusOr<Format> format = ParseFormat(flags.against); format.ok()) {
    rival.options.uniform = *format;
  } else if (std::error_code error; absl::EndsWith(flags.against, ".gguf") ||
                                    std::filesystem::is_directory(flags.against, error)) {
    BB_RETURN_IF_ERROR(LoadCandidate(flags.against, flags, &rival));
  } else {
    BB_RETURN_IF_ERROR(ReadPlanOf(flags.against, &rival));
  }
  return rival;
}

absl::StatusOr<EvaluateReport> Evaluate(const EvalFlags& flags,
                                        const Model& model,
                                        Subject* subject) {
  BB_ASSIGN_OR_RETURN(subject->options.workspace,
                      flags.workspace.Options(subject->options.plan, subject->plan_path));
  if (const absl::Status status = subject->options.Validate(); !status.ok()) {
    return UsageError(status);
  }
  return RunEvaluateJob(model, subject->options, ProcessProgress());
}

absl::Status CheckIdle(const CLI::App& command, const EvalFlags& flags) {
  constexpr char kPlan[] = "a plan says it itself";
  constexpr char kFile[] = "a file is measured as it is";
  const bool plan = !flags.plan.empty() && flags.against.empty();
  const bool file = !flags.candidate.empty() && flags.against.empty();
  const absl::Status status = RefuseIdle(command,
                                         {{"--encoder", plan && flags.pins.empty(), kPlan},
                                          {"--pruning", plan && flags.pins.empty(), kPlan},
                                          {"--encoder", file, kFile},
                                          {"--pruning", file, kFile},
                                          {"--calibration", file, kFile}});
  if (!status.ok()) return UsageError(status);
  if (!flags.against.empty() && flags.fdt_only) {
    return UsageError(
        absl::InvalidArgumentError("--against compares all metrics; leave --fdt-only out"));
  }
  return absl::OkStatus();
}

absl::Status RunEval(const CLI::App& command, const EvalFlags& flags) {
  BB_RETURN_IF_ERROR(CheckIdle(command, flags));
  BB_ASSIGN_OR_RETURN(Subject subject, SubjectOf(flags));
  std::optional<Subject> rival;
  if (!flags.against.empty()) {
    BB_ASSIGN_OR_RETURN(rival, RivalOf(flags));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const EvaluateReport report, Evaluate(flags, *model, &subject));
  std::optional<EvaluateReport> other;
  if (rival.has_value()) {
    BB_ASSIGN_OR_RETURN(other, Evaluate(flags, *model, &*rival));
    if (!SameProbes(report, *other)) {
      return absl::FailedPreconditionError(
          "the two were measured on different completions, so that they cannot be paired; "
          "--activations makes them run alike");
    }
  }
  if (flags.json) {
    nlohmann::ordered_json json = EvalJson(report, flags.fdt_only);
    if (other.has_value()) {
      json["against"] = EvalJson(*other, flags.fdt_only);
      json.update(DifferencesJson(report, *other));
    }
    std::printf("%s\n", DumpJson(json, 2).c_str());
    return absl::OkStatus();
  }
  PrintEval(report, flags.fdt_only);
  if (other.has_value()) {
    std::printf("\n%s: ", flags.against.c_str());
    PrintEval(*other, flags.fdt_only);
    std::printf("\n");
    const std::string& file = flags.plan.empty() ? flags.candidate : flags.plan;
    PrintDifferences(report, file.empty() ? "the first" : file, *other, flags.against);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvalCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "eval",
                 "Measure a plan, a uniform format or a file on held-out probes and text",
                 {"eval MODEL --plan plan.pb -t book.txt",
                  "eval MODEL --uniform int4-g64",
                  "eval MODEL --candidate other.gguf -t book.txt",
                  "eval MODEL --plan plan.pb --against other.gguf"});
  auto flags = std::make_shared<EvalFlags>();
  CLI::Option_group* what = command->add_option_group("Subject", "What is measured");
  what->add_option("--plan", flags->plan, "Plan to evaluate");
  AddCalibrationOption(command, &flags->calibration);
  what->add_option("--uniform", flags->uniform, "Format to give every component, e.g. int4-g64");
  what->add_option("--candidate",
                   flags->candidate,
                   "File of the model that somebody else made (GGUF or folder), measured as it is");
  what->require_option(0, 1);
  command->add_option(
      "--against",
      flags->against,
      "Measure this too, and the differences, paired: a plan, a GGUF file or folder "
      "of the model, or a uniform format");
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
  SetBody(command, [command, flags] { return RunEval(*command, *flags); });
}

}  // namespace bitbudget
