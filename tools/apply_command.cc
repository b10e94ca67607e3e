#include <cstdio>
#include <memory>
#include <string>

#include "planner/jobs/apply_job.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/apply_flags.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

absl::Status RunApply(const ApplyFlags& flags, const std::string& plan_path, bool json) {
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(plan_path));
  BB_RETURN_IF_ERROR(CheckApplyOut(flags, plan, plan_path));
  BB_ASSIGN_OR_RETURN(const ApplyOptions options, ApplyOptionsOf(flags, plan, plan_path));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const ApplySummary summary,
                      ApplyPlan(*model, plan, options, ProcessProgress()));
  if (json) {
    const nlohmann::ordered_json result = {{"out", flags.out},
                                           {"file_bytes", summary.file_bytes},
                                           {"weight_bytes", summary.weight_bytes},
                                           {"bits_per_weight", summary.bits_per_weight}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    std::printf("%s: %lld bytes, of which weights %lld (%.3f bits per weight)\n",
                flags.out.c_str(),
                static_cast<long long>(summary.file_bytes),
                static_cast<long long>(summary.weight_bytes),
                summary.bits_per_weight);
  }
  return absl::OkStatus();
}

}  // namespace

void AddApplyCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "apply",
                 "Write the model that a plan describes: a GGUF file or a Hugging Face folder",
                 {"apply MODEL --plan plan.pb -o model.gguf",
                  "apply MODEL --plan plan.pb -o folder/ --weights compressed-tensors",
                  "apply MODEL --plan plan.pb -o folder/ --weights mlx"});
  auto flags = std::make_shared<ApplyFlags>();
  auto plan = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("--plan", *plan, "Plan for this model")->required();
  command
      ->add_option("-o,--out",
                   flags->out,
                   "FILE.gguf: a model for llama.cpp with the plan's codes; otherwise a new folder "
                   "with a Hugging Face checkpoint")
      ->required();
  AddApplyOptions(command, flags.get());
  command->add_flag("--json", *json, "Print a summary as JSON");
  SetBody(command, [flags, plan, json] { return RunApply(*flags, *plan, *json); });
}

}  // namespace bitbudget
