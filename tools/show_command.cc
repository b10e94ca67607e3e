#include <cstdio>
#include <memory>
#include <string>

#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

absl::Status RunShow(const std::string& path, bool json) {
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(path));
  if (json) {
    BB_ASSIGN_OR_RETURN(const std::string text, PlanToJson(plan));
    std::printf("%s\n", text.c_str());
  } else {
    std::printf("%s", RenderPlan(plan).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunDiff(const std::string& a_path, const std::string& b_path) {
  BB_ASSIGN_OR_RETURN(const plans::Plan a, ReadPlan(a_path));
  BB_ASSIGN_OR_RETURN(const plans::Plan b, ReadPlan(b_path));
  BB_ASSIGN_OR_RETURN(const std::string text, RenderDiff(a, a_path, b, b_path));
  std::printf("%s", text.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddShowCommand(CLI::App* app) {
  CLI::App* command =
      app->add_subcommand("show", "Show a plan as a table of layers and components");
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("PLAN", *path, "Plan file")->required();
  command->add_flag("--json", *json, "Print the whole plan as JSON");
  SetBody(command, [path, json] { return RunShow(*path, *json); });
}

void AddDiffCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("diff", "Compare two plans of one model");
  auto a = std::make_shared<std::string>();
  auto b = std::make_shared<std::string>();
  command->add_option("PLAN_A", *a, "Plan file")->required();
  command->add_option("PLAN_B", *b, "Plan file")->required();
  SetBody(command, [a, b] { return RunDiff(*a, *b); });
}

}  // namespace bitbudget
