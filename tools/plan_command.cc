#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/communicator.h"
#include "planner/runs/run_store.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/validate.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/pruning.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

struct PlanFlags {
  ModelOption model;
  ProbeFlags probes;
  MemoryFlags memory;
  std::string budget;
  std::string out;
  std::string budget_for;
  std::optional<int64_t> context;
  std::string kv = "f16";
  std::string target;
  std::string formats;
  std::vector<std::string> pins;
  std::vector<std::string> min_bits;
  std::string search = "greedy";
  std::string scorer = "lim";
  std::string order = "fdt";
  int beam_width = PlanOptions().beam_width;
  std::string sparsity;
  bool prune_embeddings = false;
  std::string objective = "fdt";
  std::string encoder = "clip";
  std::string pruning = "magnitude";
  std::string activations = "int16";
  int64_t search_probes = PlanOptions().search_probes;
  int64_t held_out_probes = PlanOptions().held_out_probes;
  bool exhaustive = false;
  std::string run_dir;  // empty: beside the plan
  bool no_run_dir = false;
  bool json = false;
};

std::string FormatNames(std::span<const Format> formats) {
  return absl::StrJoin(formats, ",", [](std::string* out, const Format& format) {
    absl::StrAppend(out, format.Name());
  });
}

// "60%" or "62.5%" in thousandths.
absl::StatusOr<int> ParseSparsity(const std::string& text) {
  double percent = 0;
  const bool whole_form = absl::EndsWith(text, "%") &&
                          absl::SimpleAtod(text.substr(0, text.size() - 1), &percent) &&
                          percent > 0 && percent <= 100;
  const int permille = static_cast<int>(std::lround(percent * 10));
  if (whole_form && permille >= 1) return permille;
  return absl::InvalidArgumentError(absl::StrCat(
      "--sparsity '", text, "' is not a share of zeros above 0 up to 100, like 60% or 62.5%"));
}

absl::StatusOr<PlanOptions> OptionsOf(const PlanFlags& flags) {
  PlanOptions options;
  if (flags.sparsity.empty()) {
    BB_ASSIGN_OR_RETURN(options.budget, ParseBudget(flags.budget));
  } else {
    BB_ASSIGN_OR_RETURN(options.sparsity_permille, ParseSparsity(flags.sparsity));
    BB_ASSIGN_OR_RETURN(options.budget, ParseBudget("100%"));
    options.budget.text = absl::StrCat(flags.sparsity, " zeros");
  }
  if (!flags.budget_for.empty()) {
    BB_ASSIGN_OR_RETURN(options.budget_scope.counts, ParseBudgetFor(flags.budget_for));
  }
  options.budget_scope.context = flags.context;
  options.budget_scope.kv = flags.kv;
  if (!flags.target.empty()) {
    BB_ASSIGN_OR_RETURN(options.constraints.target, FindTarget(flags.target));
  }
  if (!flags.formats.empty()) {
    BB_ASSIGN_OR_RETURN(options.constraints.formats, ParseFormatList(flags.formats));
  }
  for (const std::string& text : flags.pins) {
    BB_ASSIGN_OR_RETURN(const Constraints::Pin pin, ParsePin(text));
    options.constraints.pins.push_back(pin);
  }
  for (const std::string& text : flags.min_bits) {
    BB_ASSIGN_OR_RETURN(const Constraints::MinBits rule, ParseMinBits(text));
    options.constraints.min_bits.push_back(rule);
  }
  options.pin_texts = flags.pins;
  options.min_bits_texts = flags.min_bits;
  options.search = flags.search;
  options.scorer = flags.scorer;
  BB_ASSIGN_OR_RETURN(options.order, ParseMeritKind(flags.order));
  options.beam_width = flags.beam_width;
  options.prunes_embeddings = flags.prune_embeddings;
  options.exhaustive = flags.exhaustive;
  BB_ASSIGN_OR_RETURN(options.objective, ParseStatistic(flags.objective));
  options.encoder = flags.encoder;
  BB_ASSIGN_OR_RETURN(options.pruning, ParsePruning(flags.pruning));
  BB_ASSIGN_OR_RETURN(options.activations, ParseActivations(flags.activations));
  BB_ASSIGN_OR_RETURN(options.probes, flags.probes.Options());
  options.search_probes = flags.search_probes;
  options.held_out_probes = flags.held_out_probes;
  options.threads = flags.model.Threads();
  BB_ASSIGN_OR_RETURN(options.memory_bytes, flags.memory.Limit());
  options.spill_directory = flags.memory.spill_directory;
  if (!flags.no_run_dir) {
    options.run_dir = flags.run_dir.empty() ? absl::StrCat(flags.out, ".run") : flags.run_dir;
  }
  BB_RETURN_IF_ERROR(options.Validate());
  return options;
}

// What `eval --json` says about an assignment, but for what all assignments share.
nlohmann::ordered_json SizedMetricsJson(const plans::Plan& plan,
                                        int64_t size_bytes,
                                        const plans::Metrics& metrics) {
  nlohmann::ordered_json json = {{"size_bytes", size_bytes},
                                 {"bits_per_weight",
                                  8.0 * static_cast<double>(size_bytes) /
                                      static_cast<double>(plan.model().parameter_count())}};
  json.update(MetricsJson(metrics));
  return json;
}

nlohmann::ordered_json PlanJson(const plans::Plan& plan, const MemoryPlan& memory, double seconds) {
  nlohmann::ordered_json json;
  json["size_bytes"] = PlanSizeBytes(plan);
  json["bits_per_weight"] = PlanBitsPerWeight(plan);
  json["budget_bytes"] = plan.budget().bytes();
  if (const plans::Budget& budget = plan.budget(); !budget.counts().empty()) {
    json["budget"] = {{"for", budget.counts()},
                      {"total", budget.total_bytes()},
                      {"weights", budget.bytes()},
                      {"file_overhead", budget.file_overhead_bytes()},
                      {"kv_cache", budget.kv_cache_bytes()},
                      {"compute", budget.compute_bytes()}};
  }
  json["complete"] = plan.complete();
  json["search"] = {{"candidates", plan.search().candidates()},
                    {"rounds", plan.search().rounds()},
                    {"computed", plan.search().computed()},
                    {"naive", plan.search().naive()},
                    {"seconds", seconds}};
  json["memory"] = MemoryJson(memory);
  if (!plan.has_held_out()) return json;
  const plans::HeldOut& held_out = plan.held_out();
  // What was emitted comes first; a search result that lost to uniform is shown beside it.
  json["held_out"] = SizedMetricsJson(
      plan, PlanSizeBytes(plan), held_out.uniform_emitted() ? held_out.uniform() : held_out.plan());
  if (held_out.uniform_emitted()) json["rejected"] = MetricsJson(held_out.plan());
  json["held_out"].update(PerplexityJson(held_out.has_text() ? &held_out.text() : nullptr));
  json["held_out"]["noise_floor"] = MetricsJson(held_out.noise_floor());
  json["held_out"]["completion_tokens"] = plan.options().completion_tokens();
  json["held_out"]["probes"] = plan.options().held_out_probes();
  if (!held_out.uniform_format().empty()) {
    nlohmann::ordered_json& uniform = json["uniform"] = {{"format", held_out.uniform_format()}};
    uniform.update(SizedMetricsJson(plan, held_out.uniform_size_bytes(), held_out.uniform()));
    plans::TextPerplexity text = held_out.text();
    text.set_plan(text.uniform());
    *text.mutable_plan_interval() = text.uniform_interval();
    uniform.update(PerplexityJson(held_out.has_text() ? &text : nullptr));
    json["fdt_difference_ci"] = {held_out.fdt_difference().low(), held_out.fdt_difference().high()};
    json["kl_difference_ci"] = {held_out.kl_difference().low(), held_out.kl_difference().high()};
  }
  json["uniform_emitted"] = held_out.uniform_emitted();
  return json;
}

// The ranks that this process was started among, until it exits.
absl::StatusOr<Communicator*> ProcessCommunicator() {
  static const absl::StatusOr<std::unique_ptr<Communicator>> communicator = StartCommunicator();
  if (!communicator.ok()) return communicator.status();
  return communicator->get();
}

// Ranks on one machine share its cores, unless their launcher has divided them already.
int ThreadsOf(const PlanFlags& flags, const Communicator& ranks) {
  if (flags.model.threads > 0) return flags.model.threads;
  const int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
  const int64_t share = std::max<int64_t>(1, cores / ranks.ranks_on_machine());
  return static_cast<int>(std::min<int64_t>(flags.model.Threads(), share));
}

// What ranks other than the first show: nothing.
Progress* SilentProgress() {
  ProgressBar::Options options;
  options.interrupted = InterruptGuard::Interrupted;
  static ProgressBar silent(options);
  return &silent;
}

std::string GoesOn(const PlanOptions& options) {
  return options.run_dir.empty() || !std::filesystem::exists(options.run_dir)
             ? ""
             : absl::StrCat("; the same command resumes from ", options.run_dir);
}

absl::Status PlanOnRank(const PlanFlags& flags, Communicator* ranks) {
  absl::StatusOr<PlanOptions> options = OptionsOf(flags);
  if (!options.ok()) return UsageError(options.status());
  options->threads = ThreadsOf(flags, *ranks);
  options->memory_bytes /= ranks->ranks_on_machine();
  // Several ranks are also stopped by their launcher, when it has lost one of them.
  InterruptGuard::SetMessage(
      !ranks->is_root()
          ? ""
          : absl::StrCat("stopping at the next safe point; interrupt again to end at once",
                         options->run_dir.empty()
                             ? ""
                             : absl::StrCat("; the same command resumes from ", options->run_dir)));
  if (ranks->is_root()) {
    std::vector<OutputPath> writes = {{"--out", flags.out}};
    if (!options->run_dir.empty()) {
      writes.push_back({"--run-dir", options->run_dir, OutputPath::Kind::kStore});
      for (const std::string& file : RunStoreFiles(options->run_dir)) {
        writes.push_back({"--run-dir", file, OutputPath::Kind::kStore});
      }
    }
    BB_RETURN_IF_ERROR(
        CheckOut(writes, {flags.model.path, flags.probes.text, flags.probes.prompts}));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.model.Load());
  const absl::Time start = absl::Now();
  MemoryPlan memory;
  Progress* progress = ranks->is_root() ? ProcessProgress() : SilentProgress();
  const absl::StatusOr<plans::Plan> plan = RunPlanJob(*model, *options, progress, ranks, &memory);
  if (absl::IsCancelled(plan.status())) {
    return absl::CancelledError(absl::StrCat("interrupted", GoesOn(*options)));
  }
  BB_RETURN_IF_ERROR(plan.status());
  if (ranks->is_root()) {
    progress->End();  // an interruption leaves its phase open
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    BB_RETURN_IF_ERROR(WritePlan(*plan, flags.out));
    if (flags.json) {
      std::printf("%s\n", PlanJson(*plan, memory, seconds).dump(2).c_str());
    } else {
      std::printf(
          "%s\nwritten to %s (%.0f s)\n", RenderPlan(*plan).c_str(), flags.out.c_str(), seconds);
    }
  }
  if (!plan->complete()) {
    return absl::CancelledError(absl::StrCat("interrupted; ",
                                             flags.out,
                                             " holds the best plan so far, marked incomplete",
                                             GoesOn(*options)));
  }
  return absl::OkStatus();
}

absl::Status RunPlan(const PlanFlags& flags) {
  BB_ASSIGN_OR_RETURN(Communicator* const ranks, ProcessCommunicator());
  const absl::Status status = ranks->Finish(PlanOnRank(flags, ranks));
  return ranks->is_root() || status.ok() ? status : SilentError(status);
}

}  // namespace

void AddPlanCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("plan", "Search for a plan that fits a budget");
  auto flags = std::make_shared<PlanFlags>();
  flags->model.AddTo(command);
  CLI::Option_group* target = command->add_option_group("Target", "What the plan has to meet");
  target->add_option(
      "--budget",
      flags->budget,
      "Size of the whole model: 4.5bpw, 3.2GiB, 12345678B or 60% of it as it stands");
  target->add_option("--sparsity",
                     flags->sparsity,
                     "sparsify, uniform: share of zeros, like 60%, among the weights that are not "
                     "pinned; the plan takes what it takes");
  target->require_option(1);
  command->add_option("--out", flags->out, "Plan to write (.json: as JSON, else binary)")
      ->required();
  command
      ->add_option("--search",
                   flags->search,
                   "greedy, additive, layerwise, uniform, random, beam or sparsify")
      ->capture_default_str();
  command->add_option("--scorer", flags->scorer, "Layer order of layerwise: lim, zd or signal")
      ->capture_default_str();
  command->add_option("--beam-width", flags->beam_width, "States that beam keeps; 1 is greedy")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--order",
                   flags->order,
                   "What beam ranks candidates by: fdt, dppl or ppl (on the text of --text)")
      ->capture_default_str();
  command->add_flag("--prune-embeddings",
                    flags->prune_embeddings,
                    "sparsify: embedding and head take part instead of staying as they are");
  command->add_flag(
      "--exhaustive",
      flags->exhaustive,
      "greedy, additive, beam: run all candidates on all probes, predict and screen nothing");
  command->add_option("--objective", flags->objective, "fdt, fdt75, sdt, dppl or kl")
      ->capture_default_str();
  command->add_option("--budget-for",
                      flags->budget_for,
                      "What the budget pays for: weights, file (and what a GGUF file holds beside "
                      "them) or memory (and keys, values and buffers where it runs); default: "
                      "memory with --context, file for a size and a target that makes GGUF files");
  command->add_option("--context", flags->context, "Positions that memory is counted for")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--kv", flags->kv, "How keys and values are stored there: f16 or q8_0")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
  command->add_option(
      "--target",
      flags->target,
      absl::StrCat("Who shall run the plan; only what it can load is tried: ", TargetNames()));
  command->add_option("--formats",
                      flags->formats,
                      absl::StrCat("Formats to choose from, comma-separated: ",
                                   FormatNames(SupportedFormats()),
                                   "; default: the target's, or ",
                                   FormatNames(DefaultFormats()),
                                   " (3 and 2 bits for budgets below 4.5 and 3.5 bits per weight), "
                                   "and the stored format. +2:4 or +s<per cent> on floats and "
                                   "integers: sparse ones, +s* all shares and removal"));
  command
      ->add_option(
          "--pin", flags->pins, "REGEX=FORMAT: fix components whose name matches (repeatable)")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--min-bits",
                   flags->min_bits,
                   "REGEX=N: at least N bits for components whose name matches (repeatable)")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--encoder",
                   flags->encoder,
                   "clip (error-minimising), imatrix (the same, errors weighed by calibration "
                   "inputs), gptq (error feedback over calibration inputs) or rtn")
      ->capture_default_str();
  command
      ->add_option("--pruning",
                   flags->pruning,
                   "What sparse formats leave out: the weights of the smallest magnitude, or wanda "
                   "(magnitude times the norm of the input on calibration text)")
      ->capture_default_str();
  command
      ->add_option("--activations",
                   flags->activations,
                   absl::StrCat("Validate integer formats on ",
                                ActivationsNames(),
                                " activations; token8 and token4: per token, and per head for "
                                "queries, keys and values (W8A8, W4A8, W4A4)"))
      ->capture_default_str();
  command->add_option("--probes", flags->search_probes, "Probes that the search uses")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  command
      ->add_option(
          "--held-out-probes", flags->held_out_probes, "Probes that the result is shown on")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  flags->probes.AddTo(command);
  flags->memory.AddTo(command);
  CLI::Option* run_dir = command->add_option(
      "--run-dir",
      flags->run_dir,
      "Folder for stored runs: the same command resumes its run, and one with another budget or "
      "search reuses what was measured (default: OUT.run, beside the plan)");
  command->add_flag("--no-run-dir", flags->no_run_dir, "Keep nothing")->excludes(run_dir);
  command->add_flag("--json", flags->json, "Print the result as JSON");
  SetBody(command, [flags] { return RunPlan(*flags); });
}

}  // namespace bitbudget
