#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "planner/jobs/plan_job.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/communicator.h"
#include "planner/runs/recovery_file.h"
#include "planner/runs/run_directory.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "search/methods.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/plan_json.h"
#include "tools/progress_bar.h"
#include "tools/recovery_report.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct PlanFlags {
  WorkspaceFlags workspace;
  std::string budget;
  std::string sparsity;
  std::string out;
  std::string budget_for;
  std::optional<int64_t> context;
  std::string kv = "f16";
  std::string target;
  std::string formats;
  std::vector<std::string> pins;
  std::vector<std::string> min_bits;
  std::string search = PlanOptions().search;
  std::string scorer = PlanOptions().scorer;
  std::string costs = PlanOptions().costs;
  std::string order = MeritKindName(PlanOptions().order);
  int beam_width = PlanOptions().beam_width;
  bool prune_embeddings = false;
  std::string objective = StatisticName(PlanOptions().objective);
  int64_t search_probes = PlanOptions().search_probes;
  int64_t held_out_probes = PlanOptions().held_out_probes;
  bool exhaustive = false;
  std::string run_dir;  // empty: beside the plan
  bool no_run_dir = false;
  std::string recover;  // methods; empty: none
  bool json = false;
};

std::string FormatNames(std::span<const Format> formats) {
  return absl::StrJoin(formats, ",", [](std::string* out, const Format& format) {
    absl::StrAppend(out, format.Name());
  });
}

absl::Status ReadLimit(const PlanFlags& flags, PlanOptions* options) {
  if (!flags.sparsity.empty()) {
    BB_ASSIGN_OR_RETURN(options->limit, InOption("--sparsity", ParseSparsityGoal(flags.sparsity)));
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(options->limit, InOption("--budget", ParseBudget(flags.budget)));
  if (!flags.budget_for.empty()) {
    BB_ASSIGN_OR_RETURN(options->budget_scope.counts,
                        InOption("--budget-for", ParseBudgetFor(flags.budget_for)));
  }
  return absl::OkStatus();
}

absl::Status ReadConstraints(const PlanFlags& flags, Constraints* constraints) {
  if (!flags.target.empty()) {
    BB_ASSIGN_OR_RETURN(constraints->target, InOption("--target", FindTarget(flags.target)));
  }
  if (!flags.formats.empty()) {
    BB_ASSIGN_OR_RETURN(constraints->formats,
                        InOption("--formats", ParseFormatList(flags.formats)));
  }
  for (const std::string& text : flags.pins) {
    BB_ASSIGN_OR_RETURN(Constraints::Pin pin, InOption("--pin", ParsePin(text)));
    constraints->pins.push_back(std::move(pin));
  }
  for (const std::string& text : flags.min_bits) {
    BB_ASSIGN_OR_RETURN(Constraints::MinBits rule, InOption("--min-bits", ParseMinBits(text)));
    constraints->min_bits.push_back(std::move(rule));
  }
  return absl::OkStatus();
}

absl::StatusOr<PlanOptions> OptionsOf(const PlanFlags& flags) {
  PlanOptions options;
  BB_RETURN_IF_ERROR(ReadLimit(flags, &options));
  if (!flags.sparsity.empty() && !flags.budget_for.empty()) {
    return absl::InvalidArgumentError("--budget-for goes with --budget, not with --sparsity");
  }
  options.budget_scope.context = flags.context;
  options.budget_scope.kv = flags.kv;
  BB_RETURN_IF_ERROR(ReadConstraints(flags, &options.constraints));
  BB_RETURN_IF_ERROR(InOption("--search", FindMethod(flags.search).status()));
  BB_RETURN_IF_ERROR(InOption("--scorer", FindScorer(flags.scorer).status()));
  options.search = flags.search;
  options.scorer = flags.scorer;
  if (flags.costs != PlanOptions::kOutputError) {
    BB_RETURN_IF_ERROR(InOption("--costs", FindCostScorer(flags.costs).status()));
  }
  options.costs = flags.costs;
  BB_ASSIGN_OR_RETURN(options.order, InOption("--order", ParseMeritKind(flags.order)));
  options.beam_width = flags.beam_width;
  options.prunes_embeddings = flags.prune_embeddings;
  options.exhaustive = flags.exhaustive;
  BB_ASSIGN_OR_RETURN(options.objective, InOption("--objective", ParseStatistic(flags.objective)));
  BB_ASSIGN_OR_RETURN(options.workspace, flags.workspace.Options());
  options.search_probes = flags.search_probes;
  options.held_out_probes = flags.held_out_probes;
  if (!flags.no_run_dir) {
    options.run_dir = flags.run_dir.empty() ? absl::StrCat(flags.out, ".run") : flags.run_dir;
  }
  BB_RETURN_IF_ERROR(options.Validate());
  return options;
}

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
  return std::filesystem::exists(options.run_dir) ? Resumes(options.run_dir) : "";
}

// Everything that the command writes and reads.
absl::Status CheckPaths(const PlanFlags& flags, const PlanOptions& options) {
  std::vector<OutputPath> writes = {{"--out", flags.out}};
  if (!flags.recover.empty()) {
    writes.push_back({"--out", RecoveredFileFor(flags.out)});
    writes.push_back({"--out", RecoveryFile::PathFor(flags.out)});
  }
  if (!options.run_dir.empty()) {
    writes.push_back({"--run-dir", options.run_dir, OutputPath::Kind::kStore});
    for (const std::string& file : RunStoreFiles(options.run_dir)) {
      writes.push_back({"--run-dir", file, OutputPath::Kind::kStore});
    }
  }
  return CheckOut(writes, flags.workspace.Reads());
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

// What --recover needs that can be known ahead of the search.
absl::Status CheckRecover(const PlanFlags& flags, const Communicator& ranks) {
  if (flags.recover.empty()) return absl::OkStatus();
  BB_RETURN_IF_ERROR(ParseRecoveryMethods("--recover", flags.recover).status());
  if (ranks.size() == 1) return absl::OkStatus();
  return UsageError(absl::InvalidArgumentError(
      "--recover runs in one process; recover the plan of several with bitbudget recover"));
}

absl::Status PlanOnRank(const PlanFlags& flags, Communicator* ranks) {
  absl::StatusOr<PlanOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  BB_RETURN_IF_ERROR(CheckRecover(flags, *ranks));
  options->workspace.threads = ThreadsOf(flags, *ranks);
  options->workspace.memory_bytes /= ranks->ranks_on_machine();
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
  absl::StatusOr<plans::Plan> plan = RunPlanJob(*model, *options, progress, ranks, &memory);
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
    if (!flags.recover.empty() && plan->complete()) {
      const absl::Time then = absl::Now();
      BB_ASSIGN_OR_RETURN(const RecoverReport report, RecoverFound(flags, *options, *model, *plan));
      plan = report.plan;
      ended = EndOf(report, flags.out);
      json["recovery"] = RecoveryJson(report, flags.out, absl::ToDoubleSeconds(absl::Now() - then));
    }
    if (flags.json) {
      std::printf("%s\n", json.dump(2).c_str());
    } else {
      std::printf(
          "%s\nwritten to %s (%.0f s)\n", RenderPlan(*plan).c_str(), flags.out.c_str(), seconds);
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

absl::Status RunPlan(const PlanFlags& flags) {
  BB_ASSIGN_OR_RETURN(Communicator* const ranks, ProcessCommunicator());
  const absl::Status status = ranks->Finish(PlanOnRank(flags, ranks));
  return ranks->is_root() || status.ok() ? status : SilentError(status);
}

void AddLimitOptions(CLI::App* command, PlanFlags* flags) {
  CLI::Option_group* limit = command->add_option_group("Limit", "What the plan must meet");
  limit->add_option("--budget",
                    flags->budget,
                    "Size of the whole model: 4.5bpw (bits per weight), 3.2GiB, 12345678B, or 60% "
                    "of its size on disk");
  limit->add_option("--sparsity",
                    flags->sparsity,
                    "Share of zeros, such as 60%, among the weights that are not pinned, at any "
                    "size (searches sparsify and uniform)");
  limit->require_option(1);
  command->add_option(
      "--budget-for",
      flags->budget_for,
      "What the budget pays for: weights; file (weights and what a GGUF file adds); "
      "memory (file, keys and values, run-time buffers). Default: memory with "
      "--context, file for a size and a target that makes GGUF files, else weights");
  command->add_option("--context", flags->context, "Positions that --budget-for memory pays for")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--kv", flags->kv, "How keys and values are stored there: f16 or q8_0")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
}

void AddConstraintOptions(CLI::App* command, PlanFlags* flags) {
  command->add_option(
      "--target",
      flags->target,
      absl::StrCat("Program that will execute the plan; only what it can load is tried: ",
                   TargetNames()));
  command->add_option("--formats",
                      flags->formats,
                      absl::StrCat("Formats to choose from, separated by commas: ",
                                   FormatNames(SupportedFormats()),
                                   "; add +2:4 or +s<per cent> to floats and integers for sparse "
                                   "formats, +s* for every share of zeros and removal. Default: "
                                   "the stored format and the target's, or ",
                                   FormatNames(DefaultFormats()),
                                   " (3 and 2 bits only for budgets below 4.5 and 3.5 bits per "
                                   "weight)"));
  command
      ->add_option("--pin",
                   flags->pins,
                   "REGEX=FORMAT: fix components whose name matches; the last match wins "
                   "(repeatable)")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--min-bits",
                   flags->min_bits,
                   "REGEX=N: at least N bits for components whose name matches (repeatable)")
      ->expected(1)
      ->take_all();
}

std::string DescribeMethods() {
  std::string text = "Search method: ";
  for (const MethodInfo& method : SearchMethods()) {
    absl::StrAppend(&text,
                    &method == &SearchMethods().front() ? "" : ", ",
                    method.name,
                    " (",
                    method.description,
                    ")");
  }
  return text;
}

void AddSearchOptions(CLI::App* command, PlanFlags* flags) {
  command->add_option("--search", flags->search, DescribeMethods())->capture_default_str();
  command
      ->add_option("--scorer",
                   flags->scorer,
                   absl::StrCat("What layerwise orders layers by: ", DescribeScorers()))
      ->capture_default_str();
  command
      ->add_option("--costs",
                   flags->costs,
                   "What candidates are predicted from before they are run: output-error, or the "
                   "divergences of kfac or fisher (see --scorer)")
      ->capture_default_str();
  command->add_option("--beam-width", flags->beam_width, "States that beam keeps; 1 is greedy")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--order",
                   flags->order,
                   "What beam ranks candidates by: fdt, dppl or ppl (perplexity of --text)")
      ->capture_default_str();
  command->add_flag("--prune-embeddings",
                    flags->prune_embeddings,
                    "Prune embedding and head too (sparsify and --sparsity)");
  command->add_flag("--exhaustive",
                    flags->exhaustive,
                    "Evaluate every candidate on all probes instead of predicting and screening "
                    "(greedy, additive, beam)");
  command->add_option("--objective", flags->objective, "fdt, fdt75, sdt, dppl or kl")
      ->capture_default_str();
  command->add_option("--probes", flags->search_probes, "Probes that the search uses")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  command
      ->add_option("--held-out-probes",
                   flags->held_out_probes,
                   "Probes, and windows of text or of the model's own samples, that the result is "
                   "measured on")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
}

}  // namespace

void AddPlanCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("plan", "Search for a plan that fits a budget");
  auto flags = std::make_shared<PlanFlags>();
  AddLimitOptions(command, flags.get());
  command->add_option("--out", flags->out, "Plan to write (.json: as JSON, else binary)")
      ->required();
  AddConstraintOptions(command, flags.get());
  AddSearchOptions(command, flags.get());
  flags->workspace.AddTo(command,
                         {.probes = true, .memory = true, .encoder = true, .activations = true});
  CLI::Option* run_dir = command->add_option(
      "--run-dir",
      flags->run_dir,
      "Folder for stored runs: the same command resumes its run, and one with another budget or "
      "search reuses what was measured (default: OUT.run, beside the plan)");
  command->add_flag("--no-run-dir", flags->no_run_dir, "Keep nothing")->excludes(run_dir);
  command->add_option(
      "--recover",
      flags->recover,
      absl::StrCat(
          "Recover the plan that was found, on the text of its probes and on what the model "
          "writes, as the command recover does: ",
          DescribeRecoveryMethods()));
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunPlan(*flags); });
}

}  // namespace bitbudget
