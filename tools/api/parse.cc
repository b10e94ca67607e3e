#include "tools/api/parse.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "planner/jobs/feasibility.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget::api {

absl::Status Parse(const Options& options, const std::string& model, CLI::App* app) {
  std::vector<std::string> args;
  for (const auto& [name, value] : options) args.push_back(absl::StrCat("--", name, "=", value));
  args.push_back("--");  // the path may begin with a dash
  args.push_back(model);
  std::reverse(args.begin(), args.end());  // as CLI11 takes them
  app->set_help_flag();
  try {
    app->parse(std::move(args));
  } catch (const CLI::ExtrasError&) {
    return bitbudget::UsageError(absl::InvalidArgumentError(DescribeUnknown(*app)));
  } catch (const CLI::ParseError& error) {
    return bitbudget::UsageError(
        absl::InvalidArgumentError(absl::StrReplaceAll(error.what(), {{"\n", " "}})));
  }
  return absl::OkStatus();
}

void ThrowIfError(const absl::Status& status) {
  if (status.ok()) return;
  const std::string message(status.message());
  if (absl::IsCancelled(status)) throw InterruptedError(message);
  if (IsUsageError(status)) throw api::UsageError(message);
  if (IsInfeasible(status)) throw InfeasibleError(message);
  throw Error(message);
}

}  // namespace bitbudget::api
