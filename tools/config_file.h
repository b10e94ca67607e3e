#ifndef BITBUDGET_TOOLS_CONFIG_FILE_H_
#define BITBUDGET_TOOLS_CONFIG_FILE_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace bitbudget {

// Adds --config FILE to the program's options, for --help; ReadConfig() gives it its meaning.
void AddConfigOption(CLI::App* app);

// The arguments of a call with those that its --config file adds. The file is TOML; a key is the
// long name of an option, as a string, a number, a list (for options that may be repeated), or a
// boolean for one without a value:
//
//   budget = "4.5bpw"
//   pin = ["embed_tokens=int8", "lm_head=int8"]
//   json = true
//
// Keys at the top are for the command that is called; those in a section such as [plan] for that
// command. What the command line gives comes before what the file says. `args` are in their order,
// without the program's name. Errors name the file and the key: no such file, no TOML, a section
// that is no command, an option that the command does not have, a value that is none.
absl::StatusOr<std::vector<std::string>> ReadConfig(const CLI::App& app,
                                                    std::vector<std::string> args);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_CONFIG_FILE_H_
