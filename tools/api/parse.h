#ifndef BITBUDGET_TOOLS_API_PARSE_H_
#define BITBUDGET_TOOLS_API_PARSE_H_

#include <bitbudget/bitbudget.h>

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"

namespace bitbudget::api {

// Parses options of a call, and the path of its model, as the command line is. A usage error, of
// one line, names the option that is unknown or wrong.
absl::Status Parse(const Options& options, const std::string& model, CLI::App* app);

// Throws the kind of Error that the command's exit codes tell apart, but for OK.
void ThrowIfError(const absl::Status& status);

}  // namespace bitbudget::api

#endif  // BITBUDGET_TOOLS_API_PARSE_H_
