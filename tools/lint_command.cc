#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/target_model.h"
#include "plans/targets/lint.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/parallel.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

struct LintFlags {
  std::string file;
  std::string target;
  std::string subject;
  std::string plan;
  bool json = false;
};

// A folder or a GGUF file; anything else is read as a plan.
bool IsModel(const std::string& path) {
  std::error_code error;  // reading it says what is wrong
  return std::filesystem::is_directory(path, error) || absl::EndsWith(path, ".gguf");
}

nlohmann::ordered_json LintJson(const LintReport& report) {
  nlohmann::ordered_json json = {{"target", report.target},
                                 {"file", report.path},
                                 {"ok", report.ok()},
                                 {"problems", report.problems},
                                 {"unused", report.unused},
                                 {"names", nlohmann::ordered_json::array()}};
  for (const LintReport::Line& line : report.lines) {
    nlohmann::ordered_json entry = {{"name", line.name},
                                    {"components", line.components},
                                    {"rule", nullptr},
                                    {"gets", line.gets},
                                    {"meant", nullptr},
                                    {"problems", line.problems}};
    if (!line.rule.empty()) entry["rule"] = line.rule;
    if (!line.meant.empty()) entry["meant"] = line.meant;
    json["names"].push_back(std::move(entry));
  }
  return json;
}

absl::Status RunLint(const LintFlags& flags) {
  const absl::StatusOr<const TargetProfile*> target = FindTarget(flags.target);
  if (!target.ok()) return UsageError(target.status());
  BB_ASSIGN_OR_RETURN(const std::string contents, ReadFile(flags.file, kMaxConfigBytes));
  std::optional<plans::Plan> plan;
  TargetModel model;
  if (IsModel(flags.subject)) {
    BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> loaded,
                        Model::Load(flags.subject, DefaultThreads()));
    model = ModelForTargets(*loaded);
    if (!flags.plan.empty()) {
      BB_ASSIGN_OR_RETURN(plan, ReadPlan(flags.plan));
    }
  } else {
    if (!flags.plan.empty()) {
      return UsageError(absl::InvalidArgumentError(
          absl::StrCat("--plan goes with a model, and ", flags.subject, " is a plan")));
    }
    BB_ASSIGN_OR_RETURN(plan, ReadPlan(flags.subject));
    model = ModelOfPlan(*plan);
  }
  BB_ASSIGN_OR_RETURN(
      const LintReport report,
      Lint(**target, contents, flags.file, model, plan.has_value() ? &*plan : nullptr));
  if (flags.json) {
    std::printf("%s\n", DumpJson(LintJson(report), 2, /*ensure_ascii=*/true).c_str());
  } else {
    std::printf("%s", RenderLint(report).c_str());
  }
  if (report.ok()) return absl::OkStatus();
  const int count = report.problem_count();
  return absl::FailedPreconditionError(absl::StrCat(
      flags.file, ": ", count, count == 1 ? " problem for " : " problems for ", report.target));
}

}  // namespace

void AddLintCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app,
      "lint",
      "Show what every matrix gets when another program reads a configuration, and what is wrong",
      {"lint gptq.json plan.pb --to gptqmodel", "lint types.txt MODEL --to llama.cpp"});
  auto flags = std::make_shared<LintFlags>();
  command->add_option("FILE", flags->file, "Configuration of the other program")->required();
  command->add_option("--to", flags->target, TargetNames())->required();
  command->add_option("SUBJECT", flags->subject, "Model or plan that the file is for")->required();
  command->add_option("--plan", flags->plan, "Plan that the file should express (with a model)");
  command->add_flag("--json", flags->json, "Print the findings as JSON");
  SetBody(command, [flags] { return RunLint(*flags); });
}

}  // namespace bitbudget
