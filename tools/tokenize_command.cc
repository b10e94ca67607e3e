#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/tokenizer.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

absl::Status RunTokenize(const std::string& folder, const std::string& path, bool json) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(folder));
  if (tokenizer == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(folder, ": has no tokenizer.model"));
  }
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  BB_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, tokenizer->Encode(text));
  if (json) {
    std::printf("%s\n", nlohmann::json{{"tokens", tokens}}.dump().c_str());
  } else {
    std::printf("%s\n", absl::StrJoin(tokens, " ").c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenizeCommand(CLI::App* app) {
  CLI::App* command =
      app->add_subcommand("tokenize", "Print the token ids of a text (nothing is added to them)");
  auto folder = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("MODEL", *folder, "Model folder with a tokenizer.model")->required();
  command->add_option("--file", *file, "Text file")->required();
  command->add_flag("--json", *json, "Print {\"tokens\": [...]}");
  SetBody(command, [folder, file, json] { return RunTokenize(*folder, *file, *json); });
}

}  // namespace bitbudget
