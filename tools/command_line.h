#ifndef BITBUDGET_TOOLS_COMMAND_LINE_H_
#define BITBUDGET_TOOLS_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace bitbudget {

// Adds a command. `examples`: command lines without "bitbudget", which --help shows.
CLI::App* AddCommand(CLI::App* app,
                     const std::string& name,
                     const std::string& summary,
                     const std::vector<std::string>& examples);

// Options that are added to the command from here on stand under this heading in --help.
void Heading(CLI::App* command, const std::string& heading);

// An option that has no effect together with the others of a call.
struct IdleOption {
  const char* name;    // "--kv"
  bool idle;           // in this call
  const char* reason;  // "it needs --context"
};
// kInvalidArgument for the first of them that was given and is idle: what users ask for is done or
// refused, never dropped.
absl::Status RefuseIdle(const CLI::App& command, const std::vector<IdleOption>& options);

// Names of all options of a command as they are written ("--out", "-o"), those of the program
// included.
std::vector<std::string> OptionNames(const CLI::App& command);

// "; did you mean 'plan'?" for the nearest of the known names, or where to find them all.
std::string DidYouMean(const std::string& name, const std::vector<std::string>& known);

// What a call holds that no command or option takes, with the nearest name that exists:
//   unknown option '--taget'; did you mean '--target'?
// REQUIRES: parsing has thrown CLI::ExtrasError.
std::string DescribeUnknown(const CLI::App& app);

// "help plan" as "plan --help", and "help" as "--help"; other arguments as they are. `args` are in
// their order, without the program's name.
std::vector<std::string> ExpandHelp(std::vector<std::string> args);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_COMMAND_LINE_H_
