#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "runtime/quantize/encoders.h"
#include "scoring/registry.h"
#include "search/methods.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

// The names of a registry's rows.
template <typename Rows>
std::string Words(const Rows& rows) {
  return absl::StrJoin(
      rows, " ", [](std::string* out, const auto& row) { absl::StrAppend(out, row.name); });
}

// Options whose values are names that are known.
std::vector<std::pair<std::string, std::string>> KnownValues() {
  const std::string targets = absl::StrReplaceAll(TargetNames(), {{",", ""}});
  return {{"--target", targets},
          {"--to", targets},
          {"--search", Words(SearchMethods())},
          {"--scorer", Words(Scorers())},
          {"--encoder", Words(Encoders())}};
}

struct Command {
  std::string name;
  std::string summary;
  std::vector<std::string> options;
};

// Commands, and those below one under its name: "runs".
std::vector<Command> Commands(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name().empty()) continue;
    Command entry{command->get_name(), command->get_description(), OptionNames(*command)};
    for (const Command& inner : Commands(*command)) entry.options.push_back(inner.name);
    commands.push_back(std::move(entry));
  }
  return commands;
}

std::string BashCompletion(const CLI::App& app) {
  std::vector<std::string> names = {"help"};
  std::string cases;
  for (const Command& command : Commands(app)) {
    names.push_back(command.name);
    absl::StrAppend(
        &cases, "    ", command.name, ") words=\"", absl::StrJoin(command.options, " "), "\" ;;\n");
  }
  std::string values;
  for (const auto& [option, known] : KnownValues()) {
    absl::StrAppend(&values,
                    "    ",
                    option,
                    ") COMPREPLY=($(compgen -W \"",
                    known,
                    "\" -- \"$current\")); return ;;\n");
  }
  const std::string commands = absl::StrJoin(names, " ");
  return absl::StrCat(
      "# bash completion of bitbudget\n"
      "_bitbudget() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)) || [[ $before == help ]]; then\n"
      "    COMPREPLY=($(compgen -W \"",
      commands,
      "\" -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case $before in\n",
      values,
      "  esac\n"
      "  case ${COMP_WORDS[1]} in\n",
      cases,
      "  esac\n"
      "  if [[ $current == -* || ${COMP_WORDS[1]} == runs && $COMP_CWORD == 2 ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _bitbudget bitbudget\n");
}

std::string ZshCompletion(const CLI::App& app) {
  std::string commands;
  std::string cases;
  for (const Command& command : Commands(app)) {
    absl::StrAppend(&commands,
                    "      '",
                    command.name,
                    ":",
                    absl::StrReplaceAll(command.summary, {{"'", "'\\''"}, {":", "\\:"}}),
                    "'\n");
    absl::StrAppend(
        &cases, "    ", command.name, ") words=(", absl::StrJoin(command.options, " "), ") ;;\n");
  }
  std::string values;
  for (const auto& [option, known] : KnownValues()) {
    absl::StrAppend(&values, "    ", option, ") compadd -- ", known, "; return ;;\n");
  }
  return absl::StrCat(
      "#compdef bitbudget\n"
      "_bitbudget() {\n"
      "  local -a words_of commands\n"
      "  local before=${words[CURRENT-1]} command=${words[2]}\n"
      "  if ((CURRENT == 2)) || [[ $before == help ]]; then\n"
      "    commands=(\n",
      commands,
      "    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  case $before in\n",
      values,
      "  esac\n"
      "  case $command in\n",
      absl::StrReplaceAll(cases, {{") words=(", ") words_of=("}}),
      "  esac\n"
      "  if [[ $PREFIX == -* || $command == runs && $CURRENT == 3 ]]; then\n"
      "    compadd -- $words_of\n"
      "  else\n"
      "    _files\n"
      "  fi\n"
      "}\n"
      "_bitbudget \"$@\"\n");
}

}  // namespace

void AddCompletionCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "completion",
                 "Print a completion script for a shell",
                 {"completion bash > ~/.local/share/bash-completion/completions/bitbudget",
                  "completion zsh > \"${fpath[1]}/_bitbudget\""});
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  SetBody(command, [app, shell] {
    std::printf("%s", (*shell == "bash" ? BashCompletion(*app) : ZshCompletion(*app)).c_str());
    return absl::OkStatus();
  });
}

}  // namespace bitbudget
