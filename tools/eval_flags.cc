#include "tools/eval_flags.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/eval_report.h"

namespace bitbudget {
namespace {

// The options that do not depend on what is measured.
EvaluateOptions SharedOptions(const EvalFlags& flags) {
  EvaluateOptions options;
  options.calibration = flags.calibration.empty() ? flags.workspace.text : flags.calibration;
  options.probe_count = flags.probe_count;
  options.fdt_only = flags.fdt_only;
  return options;
}

absl::Status LoadCandidate(const std::string& path, const EvalFlags& flags, EvalSubject* subject) {
  BB_ASSIGN_OR_RETURN(subject->candidate, Model::Load(path, flags.workspace.Threads()));
  subject->options.candidate = subject->candidate.get();
  return absl::OkStatus();
}

absl::StatusOr<EvalSubject> SubjectOf(const EvalFlags& flags, const plans::Plan* plan) {
  if (flags.plan.empty() && flags.uniform.empty() && flags.candidate.empty() &&
      flags.pins.empty()) {
    return UsageError(absl::InvalidArgumentError(
        "nothing to evaluate: give --plan, --uniform, --candidate or --pin (REGEX=FORMAT)"));
  }
  EvalSubject subject;
  subject.options = SharedOptions(flags);
  if (!flags.uniform.empty()) {
    BB_ASSIGN_OR_RETURN(subject.options.uniform, InOption("--uniform", ParseFormat(flags.uniform)));
  }
  for (const std::string& text : flags.pins) {
    BB_ASSIGN_OR_RETURN(Constraints::Pin pin, InOption("--pin", ParsePin(text)));
    subject.options.pins.push_back(std::move(pin));
  }
  if (!flags.plan.empty()) {
    subject.plan_path = flags.plan;
    if (plan != nullptr) {
      subject.options.plan = *plan;
    } else {
      BB_ASSIGN_OR_RETURN(subject.options.plan, ReadPlan(flags.plan));
    }
  }
  if (!flags.candidate.empty()) BB_RETURN_IF_ERROR(LoadCandidate(flags.candidate, flags, &subject));
  return subject;
}

// What --against names: a format, a model, or else a plan.
absl::StatusOr<EvalSubject> RivalOf(const EvalFlags& flags) {
  EvalSubject rival;
  rival.options = SharedOptions(flags);
  if (const absl::StatusOr<Format> format = ParseFormat(flags.against); format.ok()) {
    rival.options.uniform = *format;
  } else if (std::error_code error; absl::EndsWith(flags.against, ".gguf") ||
                                    std::filesystem::is_directory(flags.against, error)) {
    BB_RETURN_IF_ERROR(LoadCandidate(flags.against, flags, &rival));
  } else {
    rival.plan_path = flags.against;
    BB_ASSIGN_OR_RETURN(rival.options.plan, ReadPlan(flags.against));
  }
  return rival;
}

absl::StatusOr<EvaluateReport> Evaluate(const EvalFlags& flags,
                                        const Model& model,
                                        EvalSubject* subject,
                                        Progress* progress) {
  BB_ASSIGN_OR_RETURN(subject->options.workspace,
                      flags.workspace.Options(subject->options.plan, subject->plan_path));
  if (const absl::Status status = subject->options.Validate(); !status.ok()) {
    return UsageError(status);
  }
  return RunEvaluateJob(model, subject->options, progress);
}

}  // namespace

absl::Status CheckEvalIdle(const CLI::App& command, const EvalFlags& flags) {
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

absl::StatusOr<EvalSubjects> ReadEvalSubjects(const EvalFlags& flags, const plans::Plan* plan) {
  EvalSubjects subjects;
  BB_ASSIGN_OR_RETURN(subjects.first, SubjectOf(flags, plan));
  if (!flags.against.empty()) {
    BB_ASSIGN_OR_RETURN(subjects.against, RivalOf(flags));
  }
  return subjects;
}

absl::StatusOr<EvalReports> RunEvalFlags(const Model& model,
                                         const EvalFlags& flags,
                                         EvalSubjects* subjects,
                                         Progress* progress) {
  EvalReports reports;
  BB_ASSIGN_OR_RETURN(reports.first, Evaluate(flags, model, &subjects->first, progress));
  if (!subjects->against.has_value()) return reports;
  BB_ASSIGN_OR_RETURN(reports.against, Evaluate(flags, model, &*subjects->against, progress));
  if (SameProbes(reports.first, *reports.against)) return reports;
  return absl::FailedPreconditionError(
      "the two were measured on different completions, so that they cannot be paired; "
      "--activations makes them run alike");
}

nlohmann::ordered_json EvalReportsJson(const EvalReports& reports, const EvalFlags& flags) {
  nlohmann::ordered_json json = EvalJson(reports.first, flags.fdt_only);
  if (reports.against.has_value()) {
    json["against"] = EvalJson(*reports.against, flags.fdt_only);
    json.update(DifferencesJson(reports.first, *reports.against));
  }
  return json;
}

void AddEvalOptions(CLI::App* command, EvalFlags* flags) {
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
  command->add_flag("--fdt-only",
                    flags->fdt_only,
                    "Measure the first divergent token only, and leave a probe where it diverges");
  flags->workspace.AddTo(command,
                         {.probes = true, .memory = true, .encoder = true, .activations = true});
}

}  // namespace bitbudget
