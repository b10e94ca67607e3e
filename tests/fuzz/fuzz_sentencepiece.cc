// A tokenizer.model from a stranger: any bytes give a tokenizer or one line, and a tokenizer gives
// every text ids that it has.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/sentencepiece_model.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_check.h"

using bitbudget::Require;

namespace {

bool Refused(const absl::Status& status) { return bitbudget::Refused(status, "tokenizer.model"); }

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
