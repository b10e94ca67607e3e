#include "tools/plan_flags.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "planner/jobs/goal_job.h"
#include "planner/jobs/search_methods.h"
#include "plans/targets/target.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"
#include "search/methods.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/recovery_report.h"

namespace bitbudget {
namespace {

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
  if (!flags.goal.empty()) return GoalOf(flags).status();
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

// "450,50".
absl::StatusOr<RetrainingSteps> ParseRetraining(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  RetrainingSteps steps;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &steps.masked) ||
      !absl::SimpleAtoi(parts[1], &steps.unmasked)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is not two numbers of steps, masked and unmasked, such as 450,50"));
  }
  BB_RETURN_IF_ERROR(steps.Validate());
  return steps;
}

// What does not go together with a limit other than a budget.
absl::Status CheckLimit(const PlanFlags& flags) {
  if (!flags.budget.empty()) return absl::OkStatus();
  const char* const limit = flags.goal.empty() ? "--sparsity" : "--goal";
  if (!flags.budget_for.empty() || flags.context.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.budget_for.empty() ? "--context" : "--budget-for",
                     " goes with --budget, not with ",
                     limit));
  }
  if (flags.goal.empty()) return absl::OkStatus();
  if (flags.dry_run) {
    return absl::InvalidArgumentError(
        "--dry-run goes with --budget: how many sizes --goal tries shows on the way");
  }
  if (flags.retrain.has_value()) {
    return absl::InvalidArgumentError("--retrain goes with --budget or --sparsity");
  }
  if (!flags.recover.empty()) {
    return absl::InvalidArgumentError(
        "--recover goes with --budget or --sparsity; recover the plan of a goal with bitbudget "
        "recover");
  }
  return absl::OkStatus();
}

void AddScopeOptions(CLI::App* command, PlanFlags* flags) {
  Heading(command, "Budget");
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
  Heading(command, "Formats");
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
  Heading(command, "Search");
  command->add_option("--search", flags->search, DescribeMethods())->capture_default_str();
  command
      ->add_option("--scorer",
                   flags->scorer,
                   absl::StrCat("What layerwise orders layers by: ", DescribeScorers()))
      ->capture_default_str();
  command
      ->add_option(
          "--costs",
          flags->costs,
          absl::StrCat("What candidates are predicted from before they are run: costs of ",
                       absl::StrJoin(CostScorerNames(), ", "),
                       " (see --scorer; with kfac greedy goes by gradients), or output-error"))
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
  command
      ->add_option("--objective",
                   flags->objective,
                   "fdt, fdt75, sdt, dppl, kl, text-kl, text-ppl or loss (both KLs)")
      ->capture_default_str();
  command->add_option("--probes", flags->search_probes, "Probes that the search uses")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  command
      ->add_option(
          "--held-out-probes", flags->held_out_probes, "Probes that the result is measured on")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
}

bool NamesSparse(const PlanFlags& flags) {
  const auto sparse = [](const std::string& text) { return absl::StrContains(text, "+"); };
  return sparse(flags.formats) || std::any_of(flags.pins.begin(), flags.pins.end(), sparse);
}

}  // namespace

absl::Status CheckPlanIdle(const CLI::App& command,
                           const PlanFlags& flags,
                           const PlanOptions& options) {
  const MethodNeeds needs = NeedsOf(options);
  const bool beam = options.search == "beam";
  const bool sparse = options.search == "sparsify" || !flags.sparsity.empty();
  const absl::Status status = RefuseIdle(
      command,
      {{"--kv", !flags.context.has_value(), "it needs --context"},
       {"--beam-width", !beam, "it needs --search beam"},
       {"--order", !beam, "it needs --search beam"},
       {"--scorer",
        needs.layer_order != MethodNeeds::LayerOrder::kScored,
        "this search orders no layers; --search layerwise does"},
       {"--costs", !needs.output_errors, "this search predicts nothing; --search greedy does"},
       {"--prune-embeddings", !sparse, "it needs --sparsity or --search sparsify"},
       {"--pruning",
        !sparse && !NamesSparse(flags),
        "no sparse format is tried; --formats adds some, such as int8+s50"}});
  return status.ok() ? status : UsageError(status);
}

absl::Status CheckOutGiven(const PlanFlags& flags) {
  if (!flags.out.empty() || flags.dry_run) return absl::OkStatus();
  return UsageError(
      absl::InvalidArgumentError("--out is empty or missing; it names what to write"));
}

absl::StatusOr<std::optional<QualityGoal>> GoalOf(const PlanFlags& flags) {
  if (flags.goal.empty()) return std::optional<QualityGoal>();
  BB_ASSIGN_OR_RETURN(QualityGoal goal, InOption("--goal", ParseQualityGoal(flags.goal)));
  return std::optional<QualityGoal>(std::move(goal));
}

absl::StatusOr<PlanOptions> PlanOptionsOf(const PlanFlags& flags) {
  PlanOptions options;
  BB_RETURN_IF_ERROR(ReadLimit(flags, &options));
  BB_RETURN_IF_ERROR(CheckLimit(flags));
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
  if (flags.retrain.has_value()) {
    BB_ASSIGN_OR_RETURN(options.retraining, InOption("--retrain", ParseRetraining(*flags.retrain)));
    options.out = flags.out;
    if (!flags.recover.empty()) {
      return absl::InvalidArgumentError(
          "--recover does not go with --retrain, after which the plan is recovered; recover it "
          "further with bitbudget recover");
    }
  }
  options.search_probes = flags.search_probes;
  options.held_out_probes = flags.held_out_probes;
  if (!flags.no_run_dir && !flags.dry_run) {
    options.run_dir = flags.run_dir.empty() ? absl::StrCat(flags.out, ".run") : flags.run_dir;
  }
  if (options.retraining.has_value() && options.search != "sparsify") {
    return absl::InvalidArgumentError(
        absl::StrCat("--retrain goes with --search sparsify, not with ", options.search));
  }
  BB_RETURN_IF_ERROR(options.Validate());
  return options;
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
  limit->add_option("--goal",
                    flags->goal,
                    "The smallest plan whose 95 % interval on held-out probes meets this: "
                    "text_kl<=0.01 or kl<=0.01 (nats per token, along prompts or completions), "
                    "top1>=99% (along prompts), fdt>=50 (tokens), ppl<=+1% (perplexity of prompts, "
                    "above the original model's)");
  limit->require_option(1);
}

void AddSharedPlanOptions(CLI::App* command, PlanFlags* flags) {
  AddScopeOptions(command, flags);
  AddConstraintOptions(command, flags);
  AddSearchOptions(command, flags);
  flags->workspace.AddTo(command,
                         {.probes = true, .memory = true, .encoder = true, .activations = true});
  Heading(command, "Output");
  CLI::Option* run_dir = command->add_option(
      "--run-dir",
      flags->run_dir,
      "Folder for stored runs: the same command resumes its run, and one with another budget or "
      "search reuses what was measured (default: OUT.run, beside the output)");
  command->add_flag("--no-run-dir", flags->no_run_dir, "Keep nothing")->excludes(run_dir);
}

absl::StatusOr<plans::Plan> RunPlanFlags(const Model& model,
                                         const PlanFlags& flags,
                                         const PlanOptions& options,
                                         Progress* progress,
                                         Communicator* ranks,
                                         MemoryPlan* memory) {
  BB_ASSIGN_OR_RETURN(const std::optional<QualityGoal> goal, GoalOf(flags));
  if (!goal.has_value()) return RunPlanJob(model, options, progress, ranks, memory);
  return RunGoalJob(model, {options, *goal}, progress, ranks, memory);
}

void AddPlanOptions(CLI::App* command, PlanFlags* flags) {
  AddLimitOptions(command, flags);
  Heading(command, "Output");
  command->add_option("-o,--out",
                      flags->out,
                      "Plan to write (.json: as JSON, else binary). Required without --dry-run");
  AddSharedPlanOptions(command, flags);
  AddForceOption(command, &flags->force);
  Heading(command, "Training");
  command->add_option(
      "--retrain",
      flags->retrain,
      "MASKED,UNMASKED: sparsify trains the weights for so many steps after every round, first "
      "with what was pruned held at zero, then without (paper: 450,50), on the text of the probes "
      "or on what the model writes; float formats. The codes go beside the plan, to "
      "OUT.weights.safetensors");
  command->add_option(
      "--recover",
      flags->recover,
      absl::StrCat(
          "Recover the plan that was found, on the text of its probes and on what the model "
          "writes, as the command recover does: ",
          DescribeRecoveryMethods()));
  Heading(command, "Output");
  command->add_flag("--dry-run",
                    flags->dry_run,
                    "Write nothing: print the stages of the work with an estimate of their time, "
                    "the memory and the problem, as if nothing were stored");
  command->add_flag("--json", flags->json, "Print the result as JSON");
}

}  // namespace bitbudget
