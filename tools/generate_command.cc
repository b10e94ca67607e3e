#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "planner/jobs/planned_model.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/text_ends.h"
#include "runtime/model/decoder/generate.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/workspace_flags.h"

namespace bitbudget {
namespace {

struct GenerateFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string calibration;
  std::optional<std::string> prompt;  // either this or `tokens`
  std::optional<std::string> tokens;
  int64_t count = 100;
  bool sample = false;
  uint64_t seed = 0;
  bool json = false;
};

// The prompt's token ids: as given, or of a text with what it begins with.
absl::StatusOr<std::vector<int32_t>> PromptTokens(const GenerateFlags& flags, const Model& model) {
  if (flags.tokens.has_value()) return ParseTokens(*flags.tokens);
  if (model.tokenizer() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(model.path(),
                     ": has no tokenizer (tokenizer.json or tokenizer.model), which --prompt "
                     "needs; give --tokens instead"));
  }
  return EncodeText(*model.tokenizer(), model.config(), *flags.prompt);
}

absl::Status RunGenerate(const CLI::App& command, const GenerateFlags& flags) {
  if (const absl::Status status =
          RefuseIdle(command, {{"--calibration", flags.plan.empty(), "it needs --plan"}});
      !status.ok()) {
    return UsageError(status);
  }
  std::optional<plans::Plan> plan;
  if (!flags.plan.empty()) {
    BB_ASSIGN_OR_RETURN(plan, ReadPlan(flags.plan));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, PromptTokens(flags, *model));
  BB_ASSIGN_OR_RETURN(const WorkspaceOptions options, flags.workspace.Options(plan, flags.plan));
  BB_ASSIGN_OR_RETURN(const PlannedModel planned,
                      OpenPlannedModel(*model,
                                       plan.has_value() ? &*plan : nullptr,
                                       options,
                                       static_cast<int64_t>(prompt.size()) + flags.count - 1,
                                       flags.calibration,
                                       ProcessProgress()));
  AssignmentWeights weights = planned.workspace->bank()->Weights(planned.assignment);
  GenerateOptions generate;
  generate.max_tokens = flags.count;
  if (flags.sample) generate.greedy_tokens = 0;
  generate.seed = flags.seed;
  generate.threads = options.threads;
  BB_ASSIGN_OR_RETURN(
      const std::vector<Generation> generations,
      Generate(
          planned.workspace->transformer(), &weights, {&prompt, 1}, generate, ProcessProgress()));
  const std::vector<int32_t>& tokens = generations[0].tokens;
  if (flags.json) {
    nlohmann::ordered_json json = {{"prompt_tokens", prompt}, {"tokens", tokens}};
    if (model->tokenizer() != nullptr) json["text"] = model->tokenizer()->Decode(tokens);
    std::printf("%s\n", DumpJson(json).c_str());
  } else if (model->tokenizer() != nullptr) {
    std::vector<int32_t> all = prompt;
    all.insert(all.end(), tokens.begin(), tokens.end());
    std::printf("%s\n", model->tokenizer()->Decode(all).c_str());
  } else {
    std::printf("%s\n", absl::StrJoin(tokens, ",").c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "generate",
                 "Continue a prompt with the model, or with a plan for it",
                 {"generate MODEL --plan plan.pb --prompt \"It was a cold evening\" -n 40"});
  auto flags = std::make_shared<GenerateFlags>();
  command->add_option("--plan", flags->plan, "Plan to run (default: the unmodified model)");
  AddCalibrationOption(command, &flags->calibration);
  CLI::Option_group* what = command->add_option_group("prompt");
  what->add_option("--prompt", flags->prompt, "Text to continue");
  what->add_option("--tokens", flags->tokens, "Token ids to continue, e.g. 1,2,3");
  what->require_option(1);
  command->add_option("-n", flags->count, "New tokens (ends early at an end-of-sequence token)")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  CLI::Option* sample =
      command->add_flag("--sample", flags->sample, "Sample at temperature 1 instead of greedily");
  command->add_option("--seed", flags->seed, "Seed of --sample")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->needs(sample);
  flags->workspace.AddTo(command, {.activations = true});
  Heading(command, "Output");
  command->add_flag("--json", flags->json, "Print token ids as JSON");
  SetBody(command, [command, flags] { return RunGenerate(*command, *flags); });
}

}  // namespace bitbudget
