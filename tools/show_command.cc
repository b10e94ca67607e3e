#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "plans/json_names.h"
#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/json.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/plan_json.h"

namespace bitbudget {
namespace {

absl::Status RunShow(const std::string& path, bool json) {
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(path));
  if (json) {
    BB_ASSIGN_OR_RETURN(const std::string fields, PlanToJson(plan));
    BB_ASSIGN_OR_RETURN(nlohmann::ordered_json all,
                        ParseOrderedJson(fields, path, DuplicateKeys::kRefuse));
    all[kSummaryKey] = PlanJson(plan, std::nullopt, std::nullopt);
    std::printf("%s\n", DumpJson(all, 2).c_str());
  } else {
    std::printf("%s", RenderPlan(plan, OutputWidth()).c_str());
  }
  return absl::OkStatus();
}

nlohmann::ordered_json CodesJson(const plans::Component& component) {
  nlohmann::ordered_json json = {{"format", component.format()}, {"encoder", nullptr}};
  if (!component.encoder().empty()) json["encoder"] = component.encoder();
  json["size_bytes"] = component.size_bytes();
  return json;
}

// REQUIRES: RenderDiff() of the two is OK.
nlohmann::ordered_json DiffJson(const plans::Plan& a,
                                const std::string& a_path,
                                const plans::Plan& b,
                                const std::string& b_path) {
  nlohmann::ordered_json json;
  for (const auto& [key, path, plan] : {std::tuple("a", &a_path, &a), {"b", &b_path, &b}}) {
    json[key] = PlanJson(*plan, std::nullopt, std::nullopt);
    json[key]["file"] = *path;
  }
  json["components"] = nlohmann::ordered_json::array();
  for (int i = 0; i < a.components_size(); ++i) {
    const plans::Component& left = a.components(i);
    const plans::Component& right = b.components(i);
    const nlohmann::ordered_json left_codes = CodesJson(left), right_codes = CodesJson(right);
    if (left_codes == right_codes && left.encoding_sha256() == right.encoding_sha256()) continue;
    json["components"].push_back({{"name", left.name()}, {"a", left_codes}, {"b", right_codes}});
  }
  return json;
}

absl::Status RunDiff(const std::string& a_path, const std::string& b_path, bool json) {
  BB_ASSIGN_OR_RETURN(const plans::Plan a, ReadPlan(a_path));
  BB_ASSIGN_OR_RETURN(const plans::Plan b, ReadPlan(b_path));
  BB_ASSIGN_OR_RETURN(const std::string text, RenderDiff(a, a_path, b, b_path, OutputWidth()));
  if (json) {
    std::printf("%s\n", DumpJson(DiffJson(a, a_path, b, b_path), 2).c_str());
  } else {
    std::printf("%s", text.c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddShowCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app, "show", "Show a plan as a table of layers and components", {"show plan.pb"});
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("PLAN", *path, "Plan file")->required();
  command->add_flag(
      "--json", *json, "Print the whole plan as JSON, with what plan --json prints in its summary");
  SetBody(command, [path, json] { return RunShow(*path, *json); });
}

void AddDiffCommand(CLI::App* app) {
  CLI::App* command = AddCommand(app,
                                 "diff",
                                 "Compare two plans of one model",
                                 {"diff plan.pb other.pb", "diff plan.pb other.pb --json"});
  auto a = std::make_shared<std::string>();
  auto b = std::make_shared<std::string>();
  command->add_option("PLAN_A", *a, "Plan file")->required();
  command->add_option("PLAN_B", *b, "Plan file")->required();
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print sizes, metrics and the components that differ as JSON");
  SetBody(command, [a, b, json] { return RunDiff(*a, *b, *json); });
}

}  // namespace bitbudget
