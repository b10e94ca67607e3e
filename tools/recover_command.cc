#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "planner/jobs/recover_job.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/recovery_file.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/validate.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/recovery_report.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct RecoverFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string out;
  bool force = false;
  std::string calibration;
  std::string methods = RecoverJobOptions().methods.front();
  // The plan's where they are not given.
  std::optional<int64_t> prefix, completion;
  std::optional<uint64_t> seed;
  RecoveryOptions training;
  int64_t sequences = RecoverJobOptions().sequences;
  int64_t held_out_probes = RecoverJobOptions().held_out_probes;
  bool json = false;
};

absl::StatusOr<RecoverJobOptions> OptionsOf(const RecoverFlags& flags, const plans::Plan& plan) {
  RecoverJobOptions options;
  BB_ASSIGN_OR_RETURN(options.methods, ParseRecoveryMethods("--method", flags.methods));
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options(plan, flags.plan));
  ProbeOptions& probes = options.workspace.probes;
  probes.prefix_tokens = flags.prefix.value_or(plan.options().prefix_tokens());
  probes.completion_tokens = flags.completion.value_or(plan.options().completion_tokens());
  probes.seed = flags.seed.value_or(plan.options().seed());
  options.plan = plan;
  options.training = flags.training;
  options.sequences = flags.sequences;
  options.held_out_probes = flags.held_out_probes;
  // Plans are mostly recovered on the text that they were made with.
  const bool learned_from_text = plan.calibration().source() == ProbeSourceName(ProbeSource::kText);
  options.calibration =
      flags.calibration.empty() && learned_from_text ? flags.workspace.text : flags.calibration;
  options.out = flags.out;
  if (absl::Status status = options.Validate(); !status.ok()) return UsageError(status);
  return options;
}

// Options that belong to one of the methods. `options`: OptionsOf(flags).
absl::Status CheckIdle(const CLI::App& command, const RecoverJobOptions& options) {
  const auto without = [&](const char* method) {
    return std::find(options.methods.begin(), options.methods.end(), method) ==
           options.methods.end();
  };
  const absl::Status status =
      RefuseIdle(command,
                 {{"--kl-weight", without("distill"), "it needs --method distill"},
                  {"--freeze", without("distill"), "it needs --method distill"},
                  {"--hidden-weight", without("onebit"), "it needs --method onebit"},
                  {"--augmented-loss", without("omniquant"), "it needs --method omniquant"},
                  {"--let", without("omniquant"), "it needs --method omniquant"}});
  return status.ok() ? status : UsageError(status);
}

absl::Status RunRecover(const CLI::App& command, const RecoverFlags& flags) {
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(flags.plan));
  BB_RETURN_IF_ERROR(CheckOut({{"--out", flags.out},
                               {"--out", RecoveredFileFor(flags.out)},
                               {"--out", RecoveryFile::PathFor(flags.out)}},
                              {flags.workspace.model,
                               flags.plan,
                               RecoveredFileBeside(plan, flags.plan),
                               flags.workspace.text,
                               flags.calibration}));
  BB_RETURN_IF_ERROR(CheckPlanOut(flags.out, flags.force));
  if (ChangesNothing(plan)) {  // such a plan may have no probes to measure on
    return absl::InvalidArgumentError(absl::StrCat(
        flags.plan, ": nothing to recover: the plan keeps all components as they are stored"));
  }
  BB_ASSIGN_OR_RETURN(const RecoverJobOptions options, OptionsOf(flags, plan));
  BB_RETURN_IF_ERROR(CheckIdle(command, options));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  const absl::Time start = absl::Now();
  BB_ASSIGN_OR_RETURN(const RecoverReport report, RunRecovery(*model, options));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  if (flags.json) {
    std::printf("%s\n",
                DumpJson(RecoveryJson(report.plan, report.steps, flags.out, seconds), 2).c_str());
  } else {
    std::printf("%s\nwritten to %s and %s (%.0f s)\n",
                RenderRecovery(report.plan, OutputWidth()).c_str(),
                flags.out.c_str(),
                RecoveredFileFor(flags.out).c_str(),
                seconds);
  }
  return EndOf(report, flags.out);
}

void AddData(CLI::App* command, RecoverFlags* flags) {
  Heading(command, "Data");
  command->add_option(
      "-t,--text",
      flags->workspace.text,
      "Train on windows of this text (never on its held-out ones); the model itself "
      "writes what it does not fill");
  command->add_option("--sequences", flags->sequences, "Sequences to train on")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{8}, int64_t{1} << 30));
  command
      ->add_option("--prefix",
                   flags->prefix,
                   "Prompt tokens per held-out probe; sequences have as many tokens as probes, and "
                   "windows of a text have the same roles only where lengths are the same "
                   "(default: the plan's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option("--completion",
                   flags->completion,
                   "Completion tokens per held-out probe (default: the plan's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option("--seed", flags->seed, "Seed of data, probes and training (default: the plan's)")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--held-out-probes",
                   flags->held_out_probes,
                   "Probes that before and after are measured on")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  AddCalibrationOption(command, &flags->calibration);
}

void AddTraining(CLI::App* command, RecoveryOptions* training) {
  Heading(command, "Training");
  command
      ->add_option(
          "--steps",
          training->steps,
          "Steps of each method, per layer where it goes layer by layer; 0: its own number")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command
      ->add_option("--minutes",
                   training->minutes,
                   "Start no step of a method after so much time; 0: no limit. The result then "
                   "depends on the machine")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  command
      ->add_option("--learning-rate",
                   training->learning_rate,
                   "Of weights; 0: the method's own, which depends on the bits")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  command->add_option("--rate-factor", training->rate_factor, "Multiplies all learning rates")
      ->capture_default_str()
      ->check(CLI::Range(1e-9, 1e9));
  command->add_option("--batch", training->batch, "Sequences per step")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option(
          "--kl-weight",
          training->kl_weight,
          "distill: the part of KL from the original in the loss, from 0 to 1; the rest is "
          "cross entropy on the sequences")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--hidden-weight",
                   training->hidden_weight,
                   "onebit: what the error of hidden states counts beside KL")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  command->add_flag("--augmented-loss",
                    training->augmented_loss,
                    "omniquant: count the original layer's outputs for the same inputs, too");
  command->add_flag("--let",
                    training->transform,
                    "omniquant: learn scales between matrices and norms, too (equivalent "
                    "transformation); the norms go into the file of codes");
  command
      ->add_option("--start",
                   training->start,
                   "One-bit layers start from the signs of the plan's codes (plan), or from drawn "
                   "signs (random), to compare with")
      ->capture_default_str()
      ->check(CLI::IsMember({"plan", "random"}));
  command->add_flag("--keep-worse",
                    training->keep_worse,
                    "Take what training ends with even where it is worse than the start on the "
                    "sequences kept aside, to see what it does");
  command
      ->add_option("--profile-every",
                   training->profile_every,
                   "scales, distill, onebit: put squared gradient norms and SQNRs of all matrices "
                   "into the output of --json, every so many steps and at both ends; 0: never")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command
      ->add_option("--freeze",
                   training->freeze,
                   "distill: matrices whose codes stay: none, ov, qk, or random (as many, drawn)")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "ov", "qk", "random"}));
}

}  // namespace

void AddRecoverCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "recover",
      "Train other codes for a plan's formats, closer to the original at the same size",
      {"recover MODEL --plan plan.pb -o recovered.pb -t book.txt",
       "recover MODEL --plan plan.pb -o recovered.pb --method scales,distill --minutes 60"});
  auto flags = std::make_shared<RecoverFlags>();
  command->add_option("--plan", flags->plan, "Plan to start from")->required();
  Heading(command, "Output");
  command
      ->add_option("-o,--out",
                   flags->out,
                   "Plan to write (.json: as JSON, else binary); its codes go beside it, to "
                   "OUT.weights.safetensors")
      ->required();
  AddForceOption(command, &flags->force);
  Heading(command, "Training");
  command
      ->add_option("--method",
                   flags->methods,
                   absl::StrCat("Methods, one after the other, separated by commas: ",
                                DescribeRecoveryMethods()))
      ->capture_default_str();
  AddData(command, flags.get());
  AddTraining(command, &flags->training);
  flags->workspace.AddTo(command, {.memory = true, .activations = true});
  Heading(command, "Output");
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [command, flags] { return RunRecover(*command, *flags); });
}

}  // namespace bitbudget
