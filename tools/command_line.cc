#include "tools/command_line.h"

#include <algorithm>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/base/known_names.h"

namespace bitbudget {
namespace {

void AddNames(const CLI::App& app, std::vector<std::string>* names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names->push_back("--" + name);
    for (const std::string& name : option->get_snames()) names->push_back("-" + name);
  }
  // Groups of options are commands without a name.
  for (const CLI::App* part : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (part->get_name().empty()) AddNames(*part, names);
  }
}

// The command that a call names, the innermost one; the program itself without any.
const CLI::App& Called(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands()) {
    if (!command->get_name().empty()) return Called(*command);
  }
  return app;
}

}  // namespace

std::string DidYouMean(const std::string& name, const std::vector<std::string>& known) {
  const std::vector<absl::string_view> views(known.begin(), known.end());
  const absl::string_view nearest = NearestName(name, views);
  return nearest.empty() ? "; --help lists what there is"
                         : absl::StrCat("; did you mean '", nearest, "'?");
}

CLI::App* AddCommand(CLI::App* app,
                     const std::string& name,
                     const std::string& summary,
                     const std::vector<std::string>& examples) {
  CLI::App* const command = app->add_subcommand(name, summary);
  std::string footer = "Examples:\n";
  for (const std::string& example : examples) {
    absl::StrAppend(&footer, "  bitbudget ", example, "\n");
  }
  absl::StrAppend(&footer, "With every command: -q, --config FILE, --v N (bitbudget --help).");
  command->footer(footer);
  return command;
}

void Heading(CLI::App* command, const std::string& heading) {
  command->option_defaults()->group(heading);
}

absl::Status RefuseIdle(const CLI::App& command, const std::vector<IdleOption>& options) {
  for (const IdleOption& option : options) {
    if (!option.idle || command.count(option.name) == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(option.name, " has no effect in this call: ", option.reason));
  }
  return absl::OkStatus();
}

std::vector<std::string> OptionNames(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    AddNames(*app, &names);
  }
  return names;
}

std::string DescribeUnknown(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  const CLI::App& called = Called(app);
  // Options first: what follows an unknown one is left over as its value would be.
  const auto option = std::find_if(left.begin(), left.end(), [](const std::string& argument) {
    return argument.size() > 1 && argument[0] == '-';
  });
  if (option != left.end()) {
    const std::string name = option->substr(0, option->find('='));
    return absl::StrCat("unknown option '", name, "'", DidYouMean(name, OptionNames(called)));
  }
  const std::string argument = left.empty() ? "" : left.front();
  std::vector<std::string> commands;
  for (const CLI::App* part : called.get_subcommands([](const CLI::App*) { return true; })) {
    if (!part->get_name().empty()) commands.push_back(part->get_name());
  }
  if (!commands.empty()) {
    return absl::StrCat("unknown command '", argument, "'", DidYouMean(argument, commands));
  }
  return absl::StrCat("unexpected argument '", argument, "'; --help lists what there is");
}

std::vector<std::string> ExpandHelp(std::vector<std::string> args) {
  if (args.empty() || args[0] != "help") return args;
  args.erase(args.begin());
  args.push_back("--help");
  return args;
}

}  // namespace bitbudget
