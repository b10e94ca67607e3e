#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "planner/jobs/explore_job.h"
#include "plans/targets/gguf.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/explore_page.h"
#include "tools/explore_report.h"
#include "tools/interrupt.h"
#include "tools/plan_flags.h"
#include "tools/plan_preview_report.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

struct ExploreFlags {
  PlanFlags plan;
  std::string from = "2bpw";
  std::string to = "8bpw";
  int points = 9;
  std::string sizes;
  std::string rivals = "additive";
  std::vector<std::string> compared;
  std::string curve;
};

// Bits per weight as a budget is written: at most three decimals.
std::string BitsText(double bits) {
  std::string text = absl::StrFormat("%.3f", bits);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + "bpw";
}

absl::StatusOr<double> BitsOf(const char* option, const std::string& text) {
  BB_ASSIGN_OR_RETURN(const Budget budget, InOption(option, ParseBudget(text)));
  if (budget.unit != Budget::Unit::kBitsPerWeight) {
    return UsageError(absl::InvalidArgumentError(
        absl::StrCat(option,
                     ": '",
                     text,
                     "' is not a number of bits per weight, such as 2.5bpw; give --sizes "
                     "for other budgets")));
  }
  return budget.amount;
}

// The budgets, smallest first. Between two numbers of bits the steps are equal ratios, as a bit
// matters the more the fewer there are.
absl::StatusOr<std::vector<Budget>> BudgetsOf(const ExploreFlags& flags) {
  std::vector<std::string> texts = absl::StrSplit(flags.sizes, ',', absl::SkipWhitespace());
  if (texts.empty()) {
    BB_ASSIGN_OR_RETURN(const double from, BitsOf("--from", flags.from));
    BB_ASSIGN_OR_RETURN(const double to, BitsOf("--to", flags.to));
    if (from >= to) {
      return UsageError(absl::InvalidArgumentError(
          absl::StrCat("--from ", flags.from, " is not below --to ", flags.to)));
    }
    for (int i = 0; i < flags.points; ++i) {
      const double bits = from * std::pow(to / from, static_cast<double>(i) / (flags.points - 1));
      // To a quarter of a bit, or finer where that would be too coarse a step.
      const double step = (to - from) / flags.points > 0.5 ? 0.25 : 0.05;
      const bool end = i == 0 || i + 1 == flags.points;
      const std::string text = BitsText(end ? bits : std::round(bits / step) * step);
      if (texts.empty() || texts.back() != text) texts.push_back(text);
    }
  }
  std::vector<Budget> budgets;
  for (const std::string& text : texts) {
    BB_ASSIGN_OR_RETURN(Budget budget, InOption("--sizes", ParseBudget(text)));
    budgets.push_back(std::move(budget));
  }
  return budgets;
}

// The options that the command plan shares, as shell words, where they are not the defaults.
std::string SharedOptions(const PlanFlags& flags) {
  const PlanFlags defaults;
  std::string words;
  const auto add = [&](const char* option, const std::string& value, const std::string& unset) {
    if (value != unset) absl::StrAppend(&words, " ", option, " ", internal::ShellQuote(value));
  };
  const WorkspaceFlags& workspace = flags.workspace;
  add("--target", flags.target, "");
  add("--formats", flags.formats, "");
  for (const std::string& pin : flags.pins) add("--pin", pin, "");
  for (const std::string& rule : flags.min_bits) add("--min-bits", rule, "");
  if (flags.context.has_value()) add("--context", absl::StrCat(*flags.context), "");
  add("--kv", flags.kv, defaults.kv);
  add("--budget-for", flags.budget_for, "");
  add("--search", flags.search, defaults.search);
  add("--costs", flags.costs, defaults.costs);
  add("--objective", flags.objective, defaults.objective);
  add("--probes", absl::StrCat(flags.search_probes), absl::StrCat(defaults.search_probes));
  add("--held-out-probes",
      absl::StrCat(flags.held_out_probes),
      absl::StrCat(defaults.held_out_probes));
  add("--text", workspace.text, "");
  add("--prompts", workspace.prompts, "");
  add("--prefix", absl::StrCat(workspace.prefix), absl::StrCat(defaults.workspace.prefix));
  add("--completion",
      absl::StrCat(workspace.completion),
      absl::StrCat(defaults.workspace.completion));
  add("--seed", absl::StrCat(workspace.seed), "0");
  add("--encoder", workspace.encoder, defaults.workspace.encoder);
  add("--pruning", workspace.pruning, defaults.workspace.pruning);
  add("--activations", workspace.activations, "");
  return words;
}

absl::StatusOr<ExploreOptions> OptionsOf(const ExploreFlags& flags) {
  ExploreOptions options;
  BB_ASSIGN_OR_RETURN(options.budgets, BudgetsOf(flags));
  PlanFlags plan = flags.plan;
  plan.budget = options.budgets[0].text;
  BB_ASSIGN_OR_RETURN(options.plan, PlanOptionsOf(plan));
  options.rivals = absl::StrSplit(flags.rivals, ',', absl::SkipWhitespace());
  if (flags.rivals == "none") options.rivals.clear();
  BB_RETURN_IF_ERROR(InOption("--rivals", options.Validate()));
  return options;
}

// Others' files of the model, and what the report calls them.
struct ComparedFiles {
  std::vector<std::unique_ptr<Model>> models;
  std::vector<ExploreFile> files;
};

absl::StatusOr<ComparedFiles> LoadCompared(const ExploreFlags& flags) {
  ComparedFiles loaded;
  std::map<std::string, int> names;
  const auto name = [](const std::string& path) {
    return std::filesystem::path(path).filename().string();
  };
  for (const std::string& path : flags.compared) ++names[name(path)];
  for (const std::string& path : flags.compared) {
    BB_ASSIGN_OR_RETURN(std::unique_ptr<Model> model,
                        Model::Load(path, flags.plan.workspace.Threads()));
    loaded.files.push_back({names[name(path)] == 1 ? name(path) : path, model.get()});
    loaded.models.push_back(std::move(model));
  }
  return loaded;
}

absl::Status RunExplore(const CLI::App& command, const ExploreFlags& flags) {
  BB_RETURN_IF_ERROR(CheckOutGiven(flags.plan));
  absl::StatusOr<ExploreOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  BB_RETURN_IF_ERROR(CheckPlanIdle(command, flags.plan, options->plan));
  constexpr char kSizes[] = "--sizes lists the budgets";
  if (const absl::Status status = RefuseIdle(command,
                                             {{"--from", !flags.sizes.empty(), kSizes},
                                              {"--to", !flags.sizes.empty(), kSizes},
                                              {"--points", !flags.sizes.empty(), kSizes}});
      !status.ok()) {
    return UsageError(status);
  }
  const bool prints_curve = flags.curve == "-";
  const bool writes_curve = !flags.curve.empty() && !prints_curve;
  std::vector<OutputPath> writes = {{"--out", flags.plan.out}};
  if (writes_curve) writes.push_back({"--json", flags.curve});
  AddRunStore(options->plan.run_dir, &writes);
  std::vector<std::string> reads = flags.plan.workspace.Reads();
  reads.insert(reads.end(), flags.compared.begin(), flags.compared.end());
  if (!flags.plan.dry_run) {
    BB_RETURN_IF_ERROR(CheckOut(writes, reads));
    BB_RETURN_IF_ERROR(CheckExisting("--out", flags.plan.out, Content::kPage, flags.plan.force));
    if (writes_curve) {
      BB_RETURN_IF_ERROR(CheckExisting("--json", flags.curve, Content::kCurve, flags.plan.force));
    }
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.plan.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(ComparedFiles compared, LoadCompared(flags));
  options->files = std::move(compared.files);
  const std::string resumes =
      options->plan.run_dir.empty()
          ? ""
          : absl::StrCat("; the same command resumes from ", options->plan.run_dir);
  if (flags.plan.dry_run) {
    BB_ASSIGN_OR_RETURN(const PlanPreview preview, PreviewExploration(*model, *options));
    std::printf("%s", RenderPreview(preview).c_str());
    return absl::OkStatus();
  }
  InterruptGuard::SetMessage(
      absl::StrCat("stopping at the next safe point; interrupt again to end at once", resumes));
  absl::StatusOr<ExploreReport> report = RunExploreJob(*model, *options, ProcessProgress());
  if (absl::IsCancelled(report.status())) {
    return absl::CancelledError(absl::StrCat("interrupted", resumes));
  }
  BB_RETURN_IF_ERROR(report.status());
  ProcessProgress()->End();
  if (!report->complete) return absl::CancelledError(absl::StrCat("interrupted", resumes));
  const std::string shared = SharedOptions(flags.plan);
  const std::string name = flags.plan.workspace.model;
  const ExploreCommandLine line{
      absl::StrCat("bitbudget explore ", internal::ShellQuote(name), shared),
      name,
      shared,
      options->plan.run_dir};
  BB_ASSIGN_OR_RETURN(const nlohmann::ordered_json document,
                      ExploreDocument(*report, *options, line, *model));
  BB_RETURN_IF_ERROR(WriteFileAtomically(
      flags.plan.out,
      ExplorePage(absl::StrCat("bitbudget: ", document["model"]["name"].get<std::string>()),
                  DumpJson(document))));
  if (!flags.curve.empty()) {
    const std::string curve = DumpJson(ExploreCurveJson(*report, *model), 2) + "\n";
    if (prints_curve) {
      std::printf("%s", curve.c_str());
      return absl::OkStatus();
    }
    BB_RETURN_IF_ERROR(WriteFileAtomically(flags.curve, curve));
  }
  PrintFitting(absl::StrCat(ExploreTable(*report, *model, OutputWidth()),
                            "\nwritten to ",
                            flags.plan.out,
                            flags.curve.empty() ? "" : " and ",
                            flags.curve,
                            "\n"));
  return absl::OkStatus();
}

}  // namespace

void AddExploreCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "explore",
      "Plans of many sizes in one run, as a page to choose from",
      {"explore MODEL --from 2.5bpw --to 8bpw --points 8 -o report.html",
       "explore MODEL --sizes 3GB,4GB,5GB --target llama.cpp -o report.html --compare other.gguf"});
  auto flags = std::make_shared<ExploreFlags>();
  command->add_option("--from", flags->from, "Smallest budget, in bits per weight")
      ->capture_default_str();
  command->add_option("--to", flags->to, "Largest budget, in bits per weight")
      ->capture_default_str();
  command->add_option("--points", flags->points, "Budgets between them, both ends included")
      ->capture_default_str()
      ->check(CLI::Range(2, 1000));
  command->add_option("--sizes", flags->sizes, "Budgets instead, such as 1.2GiB,2GiB,5bpw");
  command
      ->add_option("--rivals",
                   flags->rivals,
                   absl::StrCat("What the plans are compared with at every budget, beside the best "
                                "uniform format: ",
                                absl::StrJoin(ExploreRivals(), ", "),
                                ", or none"))
      ->capture_default_str();
  command
      ->add_option("--compare",
                   flags->compared,
                   "A GGUF file of the model that somebody else made, to be measured beside the "
                   "plans as it is; may be given again")
      ->allow_extra_args(false);
  command->add_option(
      "-o,--out", flags->plan.out, "HTML page to write. Required without --dry-run");
  command->add_option(
      "--json",
      flags->curve,
      "File to write the curve to, as JSON; -: standard output, which gets nothing else");
  command->add_flag("--dry-run",
                    flags->plan.dry_run,
                    "Write nothing: print the stages of the work with an estimate of their time, "
                    "the memory and the problem, as if nothing were stored");
  AddSharedPlanOptions(command, &flags->plan);
  AddForceOption(command, &flags->plan.force);
  SetBody(command, [command, flags] { return RunExplore(*command, *flags); });
}

}  // namespace bitbudget
