// What tests in other languages need of the tokenizers, of a folder or a GGUF file:
//   tokenizer_tool write MODEL OUT.gguf   writes the tokenizer as a GGUF file of nothing else
//   tokenizer_tool encode MODEL           reads texts from standard input, one in hexadecimal on
//   each
//                                         line, and prints their ids; with special tokens after a
//                                         '*'

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/checkpoint/gguf_writer.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace bitbudget {
namespace {

absl::Status Write(const Tokenizer& tokenizer, const std::string& path) {
  GgufWriter writer;
  writer.AddText("general.architecture", "llama");
  BB_RETURN_IF_ERROR(AddTokenizer(tokenizer.data(), tokenizer.vocab_size(), {}, &writer));
  return writer.Write(path, [](int, std::vector<uint8_t>*) { return absl::OkStatus(); });
}

absl::Status Encode(const Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    const bool special = !line.empty() && line.front() == '*';
    BB_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                        tokenizer.Encode(absl::HexStringToBytes(line.substr(special ? 1 : 0)),
                                         {.parse_special = special}));
    std::printf("%s\n", absl::StrJoin(ids, " ").c_str());
  }
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& arguments) {
  const bool write = arguments.size() == 3 && arguments[0] == "write";
  if (!write && !(arguments.size() == 2 && arguments[0] == "encode")) {
    return absl::InvalidArgumentError("usage: tokenizer_tool write MODEL OUT.gguf | encode MODEL");
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(arguments[1]));
  if (tokenizer == nullptr) return absl::NotFoundError(arguments[1] + ": no tokenizer");
  return write ? Write(*tokenizer, arguments[2]) : Encode(*tokenizer);
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) {
  const absl::Status status = bitbudget::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (!status.ok()) std::cerr << "tokenizer_tool: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
