// Writes a small random checkpoint of any supported architecture, for tests in other languages:
// make_tiny_model --arch gemma2 --out DIR [--hidden 256 ...]. The same options give the same bytes.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

// Copies what a folder says about its tokenizer, and makes room in the vocabulary for it.
absl::Status TakeTokenizer(const std::string& from, const std::string& to, int64_t* vocab) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(from));
  if (tokenizer == nullptr) {
    return absl::NotFoundError(absl::StrCat(from, ": has no tokenizer"));
  }
  *vocab = std::max(*vocab, tokenizer->vocab_size());
  for (const char* name : {"tokenizer.model",
                           "tokenizer.json",
                           "tokenizer_config.json",
                           "special_tokens_map.json",
                           "added_tokens.json"}) {
    const std::string file = absl::StrCat(from, "/", name);
    std::error_code error;
    if (std::filesystem::exists(file, error)) {
      WriteTestFile(absl::StrCat(to, "/", name), ReadTestFile(file));
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Writes a small random checkpoint.");
  TinyModelOptions options;
  std::string out;
  std::string tokenizer;
  std::string format = "f32";
  std::map<std::string, Architecture> architectures;  // "llama", "gemma3", ...
  for (const Family& family : Families()) {
    architectures[std::string(absl::StripSuffix(family.model_type, "_text"))] = family.architecture;
  }
  app.option_defaults()->take_last();  // so that a caller may append to its usual options
  app.add_option("--arch", options.architecture)
      ->required()
      ->transform(CLI::Transformer(architectures));
  app.add_option("--out", out, "folder, made if it is not there")->required();
  app.add_option("--layers", options.layers);
  app.add_option("--hidden", options.hidden);
  app.add_option("--heads", options.heads);
  app.add_option("--kv-heads", options.kv_heads);
  app.add_option("--head-dim", options.head_dim);
  app.add_option("--ffn", options.ffn);
  app.add_option("--vocab", options.vocab);
  app.add_option("--context", options.max_positions);
  app.add_option("--window", options.sliding_window, "positions that sliding layers see");
  app.add_option("--rope-theta", options.rope_theta);
  app.add_option("--rope-scaling", options.rope_scaling, "JSON object");
  app.add_option("--fields", options.fields, "JSON object: more fields of config.json");
  app.add_option("--dtype", format)->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--scale", options.weight_scale, "of the weights; activations follow it");
  app.add_option("--seed", options.seed);
  app.add_flag("--tied", options.tied);
  app.add_flag("--attention-bias", options.attention_bias);
  app.add_flag("--mlp-bias", options.mlp_bias);
  app.add_option("--tokenizer", tokenizer, "folder to take the tokenizer from");
  CLI11_PARSE(app, argc, argv);

  options.dtype = *ParseFormat(format);
  std::filesystem::create_directories(out);
  if (!tokenizer.empty()) {
    const absl::Status status = TakeTokenizer(tokenizer, out, &options.vocab);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 3;
    }
  }
  WriteCheckpoint(MakeTinyCheckpoint(options), out);
  return 0;
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) { return bitbudget::Main(argc, argv); }
