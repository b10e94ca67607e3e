#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/apply_job.h"
#include "planner/jobs/plan_job.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/text_table.h"
#include "plans/validate.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/interrupt.h"
#include "tools/plan_flags.h"
#include "tools/plan_json.h"

namespace bitbudget {
namespace {

struct FitFlags {
  PlanFlags plan;  // `out` is the plan's file
  std::string out;
};

// The file's name and the target's must go together, and where the plan goes.
absl::Status CheckNames(FitFlags* flags) {
  if (!absl::EndsWith(flags->out, ".gguf")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--out ",
        flags->out,
        ": fit writes a GGUF file, name.gguf; for other programs make a plan with bitbudget plan "
        "--target and write it with export or apply"));
  }
  BB_ASSIGN_OR_RETURN(const TargetProfile* target,
                      InOption("--target", FindTarget(flags->plan.target)));
  if (!target->WritesGguf()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--target ",
        target->name(),
        " loads no GGUF file; make a plan for it with bitbudget plan, and write it with export"));
  }
  flags->plan.out = absl::StrCat(flags->out, ".plan.pb");
  return absl::OkStatus();
}

absl::Status CheckPaths(const FitFlags& flags, const PlanOptions& options) {
  std::vector<OutputPath> writes = {{"--out", flags.out}, {"--out", flags.plan.out}};
  AddRunStore(options.run_dir, &writes);
  BB_RETURN_IF_ERROR(CheckOut(writes, flags.plan.workspace.Reads()));
  BB_RETURN_IF_ERROR(CheckExisting("--out", flags.out, Content::kGguf, flags.plan.force));
  return CheckPlanOut(flags.plan.out, flags.plan.force);
}

// Reads the file again: every matrix must have the format that the plan gives it.
absl::Status CheckWritten(const std::string& path, const plans::Plan& plan, int threads) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> written, Model::Load(path, threads));
  const auto differs = [&](const std::string& name, const std::string& what) {
    return absl::InternalError(absl::StrCat(path, ": ", name, " ", what, " of the plan"));
  };
  if (static_cast<int>(written->components().size()) != plan.components_size()) {
    return differs("the number of matrices", "is not that");
  }
  for (int i = 0; i < plan.components_size(); ++i) {
    const std::string format = written->Weight(i).format.Name();
    if (format == plan.components(i).format()) continue;
    return differs(plan.components(i).name(), absl::StrCat("has ", format, ", not the format"));
  }
  return absl::OkStatus();
}

std::string NextSteps(const std::string& path) {
  const std::string file = std::filesystem::path(path).filename().string();
  const std::string name = std::filesystem::path(file).stem().string();
  return absl::StrCat("Run it with llama.cpp:\n  llama-cli -m ",
                      path,
                      "\nor with Ollama, from a file named Modelfile beside it:\n  FROM ./",
                      file,
                      "\nand then:\n  ollama create ",
                      name,
                      " -f Modelfile && ollama run ",
                      name,
                      "\n");
}

absl::Status Report(const FitFlags& flags,
                    const plans::Plan& plan,
                    const MemoryPlan& memory,
                    const ApplySummary& written) {
  if (flags.plan.json) {
    nlohmann::ordered_json json = PlanJson(plan, memory, std::nullopt);
    json["out"] = flags.out;
    json["plan"] = flags.plan.out;
    json["file_bytes"] = written.file_bytes;
    std::printf("%s\n", DumpJson(json, 2).c_str());
    return absl::OkStatus();
  }
  if (ChangesNothing(plan)) {
    std::printf("fits as it is: every matrix stays as it is stored\n");
  } else {
    std::printf("%s\n", RenderPlan(plan, OutputWidth()).c_str());
  }
  std::printf("written to %s: %s bytes, every matrix in the format that was planned (%s)\n\n%s",
              flags.out.c_str(),
              WithThousands(written.file_bytes).c_str(),
              flags.plan.out.c_str(),
              NextSteps(flags.out).c_str());
  return absl::OkStatus();
}

absl::Status RunFit(const CLI::App& command, FitFlags flags) {
  if (const absl::Status status = CheckNames(&flags); !status.ok()) return UsageError(status);
  absl::StatusOr<PlanOptions> options = PlanOptionsOf(flags.plan);
  if (!options.ok()) return UsageError(options.status());
  BB_RETURN_IF_ERROR(CheckPlanIdle(command, flags.plan, *options));
  const std::string resumes =
      options->run_dir.empty() ? ""
                               : absl::StrCat("; the same command resumes from ", options->run_dir);
  InterruptGuard::SetMessage(
      absl::StrCat("stopping at the next safe point; interrupt again to end at once", resumes));
  BB_RETURN_IF_ERROR(CheckPaths(flags, *options));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.plan.workspace.LoadModel());
  MemoryPlan memory;
  absl::StatusOr<plans::Plan> plan =
      RunPlanJob(*model, *options, ProcessProgress(), /*ranks=*/nullptr, &memory);
  if (absl::IsCancelled(plan.status()) || (plan.ok() && !plan->complete())) {
    return absl::CancelledError(absl::StrCat("interrupted; nothing was written", resumes));
  }
  BB_RETURN_IF_ERROR(plan.status());
  BB_RETURN_IF_ERROR(WritePlan(*plan, flags.plan.out));
  ApplyOptions apply;
  apply.out = flags.out;
  apply.calibration = options->workspace.probes.path;
  BB_ASSIGN_OR_RETURN(apply.workspace, flags.plan.workspace.Options(*plan, flags.plan.out));
  BB_ASSIGN_OR_RETURN(const ApplySummary written,
                      ApplyPlan(*model, *plan, apply, ProcessProgress()));
  BB_RETURN_IF_ERROR(CheckWritten(flags.out, *plan, flags.plan.workspace.Threads()));
  return Report(flags, *plan, memory, written);
}

}  // namespace

void AddFitCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "fit",
      "Make a GGUF file that fits a size: plan, apply and check in one step",
      {"fit MODEL 4.3GB -o model.gguf",
       "fit MODEL 6GiB --context 8192 --kv q8_0 -o model.gguf -t book.txt   # memory of a session",
       "fit MODEL 4.5bpw -o model.gguf --encoder gptq -t book.txt           # slower, closer"});
  auto flags = std::make_shared<FitFlags>();
  flags->plan.target = "llama.cpp";
  command
      ->add_option("-o,--out",
                   flags->out,
                   "FILE.gguf to write; the plan goes beside it, to "
                   "FILE.gguf.plan.pb")
      ->required();
  AddSharedPlanOptions(command, &flags->plan);
  AddForceOption(command, &flags->plan.force);
  command
      ->add_option(
          "SIZE",
          flags->plan.budget,
          "Size of the file, such as 4.3GB or 60% (of the model as stored), or 4.5bpw; with "
          "--context, memory that a session of llama.cpp takes")
      ->required();
  command->add_flag("--json", flags->plan.json, "Print the result as JSON");
  SetBody(command, [command, flags] { return RunFit(*command, *flags); });
}

}  // namespace bitbudget
