// A tokenizer.model from a stranger: any bytes give a tokenizer or one line, and a tokenizer gives
// every text ids that it has.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/sentencepiece_model.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace {

void Require(bool condition) {
  if (!condition) abort();
}

bool Refused(const absl::Status& status) {
  if (status.ok()) return false;
  const absl::string_view message = status.message();
  Require(message.find('\n') == absl::string_view::npos && message.size() <= 1000);
  Require(message.find("tokenizer.model") != absl::string_view::npos);
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  auto parsed = bitbudget::ParseSentencePieceModel(bytes, "tokenizer.model");
  if (Refused(parsed.status())) return 0;
  const auto tokenizer = bitbudget::MakeTokenizer(*std::move(parsed));
  if (Refused(tokenizer.status())) return 0;
  for (const absl::string_view sample :
       {absl::string_view(bytes).substr(0, 256), absl::string_view(" a  b\n1234's")}) {
    const auto ids = (*tokenizer)->Encode(sample, {.parse_special = true});
    if (Refused(ids.status())) continue;
    for (const int32_t id : *ids) Require(id >= 0 && id < (*tokenizer)->vocab_size());
    (*tokenizer)->Decode(*ids);
  }
  return 0;
}
