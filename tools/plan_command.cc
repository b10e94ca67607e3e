#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "planner/jobs/as_it_is.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_preview.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/communicator.h"
#include "planner/runs/recovery_file.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/validate.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/interrupt.h"
#include "tools/plan_flags.h"
#include "tools/plan_json.h"
#include "tools/plan_preview_report.h"
#include "tools/progress_bar.h"
#include "tools/recovery_report.h"

namespace bitbudget {
namespace {

// The ranks that this process was started among, until it exits.
absl::StatusOr<Communicator*> ProcessCommunicator() {
  static const absl::StatusOr<std::unique_ptr<Communicator>> communicator = StartCommunicator();
  if (!communicator.ok()) return communicator.status();
  return communicator->get();
}

// Ranks on one machine share its cores, unless their launcher has divided them already.
int ThreadsOf(const PlanFlags& flags, const Communicator& ranks) {
  if (flags.workspace.threads > 0) return flags.workspace.threads;
  const int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
  const int64_t share = std::max<int64_t>(1, cores / ranks.ranks_on_machine());
  return static_cast<int>(std::min<int64_t>(flags.workspace.Threads(), share));
}

// What ranks other than the first show: nothing.
Progress* SilentProgress() {
  ProgressBar::Options options;
  options.interrupted = InterruptGuard::Interrupted;
  static ProgressBar silent(options);
  return &silent;
}

std::string Resumes(const std::string& run_dir) {
  return run_dir.empty() ? "" : absl::StrCat("; the same command resumes from ", run_dir);
}

std::string ResumesIfStored(const PlanOptions& options) {
  std::error_code error;
  return std::filesystem::exists(options.run_dir, error) ? Resumes(options.run_dir) : "";
}

// Everything that the command writes and reads.
absl::Status CheckPaths(const PlanFlags& flags, const PlanOptions& options) {
  std::vector<OutputPath> writes = {{"--out", flags.out}};
  if (!flags.recover.empty() || flags.retrain.has_value()) {
    writes.push_back({"--out", RecoveredFileFor(flags.out)});
  }
  if (!flags.recover.empty()) {
    writes.push_back({"--out", RecoveryFile::PathFor(flags.out)});
  }
  AddRunStore(options.run_dir, &writes);
  BB_RETURN_IF_ERROR(CheckOut(writes, flags.workspace.Reads()));
  return CheckPlanOut(flags.out, flags.force);
}

// Recovers the plan that was found, with the data and the probes of its search.
absl::StatusOr<RecoverReport> RecoverFound(const PlanFlags& flags,
                                           const PlanOptions& options,
                                           const Model& model,
                                           const plans::Plan& plan) {
  RecoverJobOptions recovery;
  BB_ASSIGN_OR_RETURN(recovery.methods, ParseRecoveryMethods("--recover", flags.recover));
  recovery.plan = plan;
  recovery.held_out_probes = options.held_out_probes;
  recovery.calibration = options.workspace.probes.path;
  recovery.out = flags.out;
  recovery.workspace = options.workspace;
  return RunRecovery(model, recovery);
}

// What training needs that can be known ahead of the search.
absl::Status CheckTraining(const PlanFlags& flags, const Communicator& ranks) {
  if (flags.retrain.has_value() && ranks.size() > 1) {
    return UsageError(absl::InvalidArgumentError("--retrain runs in one process"));
  }
  if (flags.recover.empty()) return absl::OkStatus();
  BB_RETURN_IF_ERROR(ParseRecoveryMethods("--recover", flags.recover).status());
  if (ranks.size() == 1) return absl::OkStatus();
  return UsageError(absl::InvalidArgumentError(
      "--recover runs in one process; recover the plan of several with bitbudget recover"));
}

// What the plan would take. `options` have the threads and the memory of one rank.
absl::Status DryRun(const PlanFlags& flags, const PlanOptions& options, const Communicator& ranks) {
  if (!ranks.is_root()) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(PlanPreview preview, PreviewPlans(*model, {&options, 1}, {}, ranks.size()));
  BB_ASSIGN_OR_RETURN(const PlanProblem made, MakePlanProblem(*model, options));
  if (const auto plan = PlanAsItIs(*model, options, made); plan.has_value()) {
    preview.work.stages.clear();
    preview.notes.push_back(plan->search().note());
  }
  if (flags.json) {
    std::printf("%s\n", DumpJson(PreviewJson(preview), 2).c_str());
  } else {
    std::printf("%s", RenderPreview(preview).c_str());
  }
  return absl::OkStatus();
}

absl::Status PlanOnRank(const CLI::App& command, const PlanFlags& flags, Communicator* ranks) {
  BB_RETURN_IF_ERROR(CheckOutGiven(flags));
  absl::StatusOr<PlanOptions> options = PlanOptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  BB_RETURN_IF_ERROR(CheckPlanIdle(command, flags, *options));
  BB_RETURN_IF_ERROR(CheckTraining(flags, *ranks));
  options->workspace.threads = ThreadsOf(flags, *ranks);
  options->workspace.memory_bytes /= ranks->ranks_on_machine();
  if (flags.dry_run) return DryRun(flags, *options, *ranks);
  // Several ranks are also stopped by their launcher, when it has lost one of them.
  InterruptGuard::SetMessage(
      !ranks->is_root()
          ? ""
          : absl::StrCat("stopping at the next safe point; interrupt again to end at once",
                         Resumes(options->run_dir)));
  if (ranks->is_root()) BB_RETURN_IF_ERROR(CheckPaths(flags, *options));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  const absl::Time start = absl::Now();
  MemoryPlan memory;
  Progress* progress = ranks->is_root() ? ProcessProgress() : SilentProgress();
  absl::StatusOr<plans::Plan> plan =
      RunPlanFlags(*model, flags, *options, progress, ranks, &memory);
  if (absl::IsCancelled(plan.status())) {
    return absl::CancelledError(absl::StrCat("interrupted", ResumesIfStored(*options)));
  }
  BB_RETURN_IF_ERROR(plan.status());
  absl::Status ended;  // of the recovery
  if (ranks->is_root()) {
    progress->End();  // an interruption leaves its phase open
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    BB_RETURN_IF_ERROR(WritePlan(*plan, flags.out));
    nlohmann::ordered_json json = PlanJson(*plan, memory, seconds);
    if (plan->has_recovery()) json["recovery"] = RecoveryJson(*plan, {}, flags.out, seconds);
    if (!flags.recover.empty() && plan->complete() && !ChangesNothing(*plan)) {
      const absl::Time then = absl::Now();
      BB_ASSIGN_OR_RETURN(const RecoverReport report, RecoverFound(flags, *options, *model, *plan));
      plan = report.plan;
      ended = EndOf(report, flags.out);
      json["recovery"] =
          RecoveryJson(*plan, report.steps, flags.out, absl::ToDoubleSeconds(absl::Now() - then));
    }
    if (flags.json) {
      std::printf("%s\n", DumpJson(json, 2).c_str());
    } else {
      if (ChangesNothing(*plan)) std::printf("fits as it is: nothing to plan\n\n");
      std::printf("%s\nwritten to %s (%.0f s)\n",
                  RenderPlan(*plan, OutputWidth()).c_str(),
                  flags.out.c_str(),
                  seconds);
    }
  }
  if (!plan->complete()) {
    return absl::CancelledError(absl::StrCat("interrupted; ",
                                             flags.out,
                                             " holds the best plan so far, marked incomplete",
                                             ResumesIfStored(*options)));
  }
  return ended;
}

absl::Status RunPlan(const CLI::App& command, const PlanFlags& flags) {
  BB_ASSIGN_OR_RETURN(Communicator* const ranks, ProcessCommunicator());
  const absl::Status status = ranks->Finish(PlanOnRank(command, flags, ranks));
  return ranks->is_root() || status.ok() ? status : SilentError(status);
}

}  // namespace

void AddPlanCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "plan",
      "Search for a plan that fits a budget or meets a goal",
      {"plan MODEL --budget 4.5bpw -o plan.pb",
       "plan MODEL --budget 4.3GB --target llama.cpp -o plan.pb -t book.txt",
       "plan MODEL --goal \"text_kl<=0.01\" --target llama.cpp -o plan.pb",
       "plan MODEL --budget 4.5bpw --dry-run   # time, memory and sizes, without the work"});
  auto flags = std::make_shared<PlanFlags>();
  AddPlanOptions(command, flags.get());
  SetBody(command, [command, flags] { return RunPlan(*command, *flags); });
}

}  // namespace bitbudget
