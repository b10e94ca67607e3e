#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/json_text.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string file;
  bool special = false;
  bool json = false;
};

absl::Status RunTokenize(const TokenizeOptions& options) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(options.model));
  if (tokenizer == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.model, ": has no tokenizer.json or tokenizer.model"));
  }
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.file, kMaxTextBytes));
  BB_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                      tokenizer->Encode(text, {.parse_special = options.special}));
  if (options.json) {
    std::printf("%s\n", DumpJson(nlohmann::json{{"tokens", tokens}}).c_str());
  } else {
    std::printf("%s\n", absl::StrJoin(tokens, " ").c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenizeCommand(CLI::App* app) {
  CLI::App* command = AddCommand(app,
                                 "tokenize",
                                 "Print the token ids of a text; no special tokens are added",
                                 {"tokenize MODEL --file book.txt"});
  auto options = std::make_shared<TokenizeOptions>();
  command
      ->add_option(
          "MODEL", options->model, "Folder with a tokenizer, or a GGUF file (also without weights)")
      ->required();
  command->add_option("--file", options->file, "Text file")->required();
  command->add_flag("--special",
                    options->special,
                    "Read control tokens that the text spells out as those tokens");
  command->add_flag("--json", options->json, "Print {\"tokens\": [...]}");
  SetBody(command, [options] { return RunTokenize(*options); });
}

}  // namespace bitbudget
