#include "tools/config_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/base/known_names.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

constexpr absl::string_view kOption = "--config";

// Takes the file's name out of the arguments; the last one counts.
absl::StatusOr<std::optional<std::string>> TakeFile(std::vector<std::string>* args) {
  std::optional<std::string> file;
  for (size_t i = 0; i < args->size();) {
    const absl::string_view argument = (*args)[i];
    if (argument == "--") break;
    if (absl::StartsWith(argument, absl::StrCat(kOption, "="))) {
      file = std::string(argument.substr(kOption.size() + 1));
      args->erase(args->begin() + i);
    } else if (argument == kOption) {
      if (i + 1 == args->size()) {
        return absl::InvalidArgumentError("--config names no file");
      }
      file = (*args)[i + 1];
      args->erase(args->begin() + i, args->begin() + i + 2);
    } else {
      ++i;
    }
  }
  return file;
}

// The option of the command, of its groups or of the program that has this long name.
const CLI::Option* FindOption(const CLI::App& command, const std::string& name) {
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* option = app->get_option_no_throw("--" + name); option != nullptr) {
      return option;
    }
  }
  return nullptr;
}

bool IsGiven(const CLI::Option& option, const std::vector<std::string>& args) {
  return std::any_of(args.begin(), args.end(), [&](const std::string& argument) {
    for (const std::string& name : option.get_lnames()) {
      if (argument == "--" + name || absl::StartsWith(argument, absl::StrCat("--", name, "="))) {
        return true;
      }
    }
    for (const std::string& name : option.get_snames()) {
      if (absl::StartsWith(argument, "-" + name) && !absl::StartsWith(argument, "--")) return true;
    }
    return false;
  });
}

// A value as it would be written in a call; none for what is no single value.
std::optional<std::string> TextOf(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto integer = node.value_exact<int64_t>()) return absl::StrCat(*integer);
  if (node.is_floating_point()) {
    std::ostringstream text;
    text << *node.as_floating_point();
    return text.str();
  }
  return std::nullopt;
}

// Adds one key to the call.
absl::Status AddKey(const CLI::Option& option,
                    const std::string& name,
                    const toml::node& node,
                    std::vector<std::string>* added) {
  const bool is_flag = option.get_items_expected_max() == 0;
  if (const auto on = node.value_exact<bool>()) {
    if (!is_flag) return absl::InvalidArgumentError("takes a value, not true or false");
    if (*on) added->push_back("--" + name);
    return absl::OkStatus();
  }
  if (is_flag) return absl::InvalidArgumentError("is true or false");
  if (const toml::array* list = node.as_array(); list != nullptr) {
    for (const toml::node& element : *list) {
      const std::optional<std::string> text = TextOf(element);
      if (!text.has_value())
        return absl::InvalidArgumentError("holds what is neither text nor number");
      added->push_back(absl::StrCat("--", name, "=", *text));
    }
    return absl::OkStatus();
  }
  const std::optional<std::string> text = TextOf(node);
  if (!text.has_value())
    return absl::InvalidArgumentError("is neither text, number, list nor boolean");
  added->push_back(absl::StrCat("--", name, "=", *text));
  return absl::OkStatus();
}

absl::Status AddTable(const CLI::App& command,
                      const toml::table& table,
                      const std::vector<std::string>& args,
                      std::vector<std::string>* added) {
  for (const auto& [key, node] : table) {
    if (node.is_table()) continue;
    const std::string name(key.str());
    const CLI::Option* option = FindOption(command, name);
    if (option == nullptr || name == kOption.substr(2)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'",
                       name,
                       "' is no option of ",
                       command.get_name(),
                       DidYouMean("--" + name, OptionNames(command))));
    }
    if (IsGiven(*option, args)) continue;
    if (const absl::Status status = AddKey(*option, name, node, added); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddConfigOption(CLI::App* app) {
  app->add_option_function<std::string>(
      std::string(kOption),
      [](const std::string&) {},
      "TOML file of options of the command: budget = \"4.5bpw\", a list for what may be repeated, "
      "true for what has no value; the command line comes first");
}

absl::StatusOr<std::vector<std::string>> ReadConfig(const CLI::App& app,
                                                    std::vector<std::string> args) {
  BB_ASSIGN_OR_RETURN(const std::optional<std::string> file, TakeFile(&args));
  if (!file.has_value()) return args;
  const auto in_file = [&](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("--config ", *file, ": ", status.message()));
  };
  const std::vector<const CLI::App*> commands =
      app.get_subcommands([](const CLI::App* part) { return !part->get_name().empty(); });
  const CLI::App* called = nullptr;
  for (const std::string& argument : args) {
    const auto named = std::find_if(commands.begin(), commands.end(), [&](const CLI::App* command) {
      return command->get_name() == argument;
    });
    if (named != commands.end()) {
      called = *named;
      break;
    }
  }
  if (called == nullptr) return absl::InvalidArgumentError("--config goes with a command");
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(*file, kMaxConfigBytes));
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return in_file(absl::InvalidArgumentError(
        absl::StrCat("line ", error.source().begin.line, ": ", std::string(error.description()))));
  }
  std::vector<std::string> added;
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  for (const auto& [key, node] : table) {
    if (!node.is_table()) continue;
    const std::string section(key.str());
    if (std::find(names.begin(), names.end(), section) == names.end()) {
      return in_file(UnknownName("command", section, names));
    }
    if (section != called->get_name()) continue;
    if (const absl::Status status = AddTable(*called, *node.as_table(), args, &added);
        !status.ok()) {
      return in_file(status);
    }
  }
  // A section says more than the top of the file.
  std::vector<std::string> given = args;
  given.insert(given.end(), added.begin(), added.end());
  if (const absl::Status status = AddTable(*called, table, given, &added); !status.ok()) {
    return in_file(status);
  }
  args.insert(args.end(), added.begin(), added.end());
  return args;
}

}  // namespace bitbudget
