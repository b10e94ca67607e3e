#include "tools/workspace_flags.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

void AddProbes(CLI::App* command, WorkspaceFlags* flags) {
  Heading(command, "Probes");
  CLI::Option* text =
      command->add_option("-t,--text", flags->text, "Take probes from windows of this text file");
  command
      ->add_option("--prompts", flags->prompts, "Take probes from this file, one prompt per line")
      ->excludes(text);
  command->add_option("--prefix", flags->prefix, "Prompt tokens per probe")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--completion", flags->completion, "Completion tokens per probe")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--seed", flags->seed, "Seed of probes and random orders")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);  // a negative one would wrap around
}

void AddMemory(CLI::App* command, WorkspaceFlags* flags) {
  Heading(command, "Machine");
  command->add_option(
      "--memory",
      flags->memory,
      "Memory to use, such as 16GiB (default: three quarters of what is available)");
  command
      ->add_option("--spill-dir",
                   flags->spill_directory,
                   "Directory for encodings that do not fit in memory")
      ->capture_default_str();
}

void AddEncoder(CLI::App* command, WorkspaceFlags* flags) {
  Heading(command, "Encoder");
  command
      ->add_option(
          "--encoder",
          flags->encoder,
          absl::StrCat("How codes are chosen, unless a plan says so: ", DescribeEncoders()))
      ->capture_default_str();
  command
      ->add_option("--pruning",
                   flags->pruning,
                   "Which weights sparse formats zero: those of least magnitude, wanda (least "
                   "magnitude times the norm of the input on calibration text), or fisher (whose "
                   "loss costs least by gradients on it)")
      ->capture_default_str();
}

ProbeOptions ProbesOf(const WorkspaceFlags& flags) {
  ProbeOptions options;
  if (!flags.text.empty()) options.source = ProbeSource::kText;
  if (!flags.prompts.empty()) options.source = ProbeSource::kPrompts;
  options.path = flags.text.empty() ? flags.prompts : flags.text;
  options.prefix_tokens = flags.prefix;
  options.completion_tokens = flags.completion;
  options.seed = flags.seed;
  return options;
}

}  // namespace

void WorkspaceFlags::AddTo(CLI::App* command, const Groups& groups) {
  command->add_option("MODEL", model, "Model folder in Hugging Face layout, or a .gguf file")
      ->required();
  Heading(command, "Machine");
  command->add_option("--threads", threads, "Threads to use (default: all cores)")
      ->check(CLI::Range(1, 1024));
  if (groups.probes) AddProbes(command, this);
  if (groups.memory) AddMemory(command, this);
  if (groups.encoder) AddEncoder(command, this);
  if (!groups.activations) return;
  Heading(command, "Encoder");
  command->add_option(
      "--activations",
      activations,
      absl::StrCat("Activations that integer formats run on: ",
                   ActivationsNames(),
                   "; token8 and token4 round per token, and queries, keys and "
                   "values per head (W8A8, W4A8, W4A4); llama.cpp rounds as its products "
                   "on a CPU do (default: the plan's, else int16)"));
}

int WorkspaceFlags::Threads() const { return threads > 0 ? threads : DefaultThreads(); }

absl::StatusOr<std::unique_ptr<Model>> WorkspaceFlags::LoadModel() const {
  // Tens of gigabytes take a while. No phase of the progress bar: a signal ends a phase at its next
  // safe point, and reading has none.
  if (ProgressBar::ForStderr().terminal)
    ProcessProgress()->Message(absl::StrCat("reading ", model));
  return Model::Load(model, Threads());
}

absl::StatusOr<WorkspaceOptions> WorkspaceFlags::Options(const std::optional<plans::Plan>& plan,
                                                         const std::string& plan_path) const {
  WorkspaceOptions options;
  options.threads = Threads();
  options.probes = ProbesOf(*this);
  BB_RETURN_IF_ERROR(InOption("--encoder", FindEncoder(encoder).status()));
  options.encoder = encoder;
  BB_ASSIGN_OR_RETURN(options.pruning, InOption("--pruning", ParsePruning(pruning)));
  if (!memory.empty()) {
    BB_ASSIGN_OR_RETURN(options.memory_bytes, InOption("--memory", ParseMemory(memory)));
  }
  options.spill_directory = spill_directory;
  options.plan_folder = std::filesystem::path(plan_path).parent_path().string();
  if (!activations.empty()) {
    BB_ASSIGN_OR_RETURN(options.activations,
                        InOption("--activations", ParseActivations(activations)));
  } else if (plan.has_value()) {
    BB_ASSIGN_OR_RETURN(options.activations, ParseActivations(plan->options().activations()));
  }
  return options;
}

}  // namespace bitbudget
