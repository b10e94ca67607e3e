// A tokenizer.json from a stranger: any bytes give a tokenizer or one line, and a tokenizer gives
// every text ids that it has.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "runtime/model/tokenizer/tokenizer_json.h"
#include "tests/fuzz/fuzz_check.h"

using bitbudget::Require;

namespace {

bool Refused(const absl::Status& status) { return bitbudget::Refused(status, "tokenizer.json"); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  auto parsed = bitbudget::ParseTokenizerJson(text, "tokenizer.json");
  if (Refused(parsed.status())) return 0;
  const auto tokenizer = bitbudget::MakeTokenizer(*std::move(parsed));
  if (Refused(tokenizer.status())) return 0;
  // Expressions may need many steps, so the text is short.
  for (const absl::string_view sample : {text.substr(0, 256), absl::string_view(" a  b\n1234's")}) {
    for (const bool special : {false, true}) {
      const auto ids = (*tokenizer)->Encode(sample, {.parse_special = special});
      if (Refused(ids.status())) continue;
      for (const int32_t id : *ids) Require(id >= 0 && id < (*tokenizer)->vocab_size());
      (*tokenizer)->Decode(*ids);
    }
  }
  bitbudget::GgufWriter writer;
  Refused(AddTokenizer((*tokenizer)->data(), (*tokenizer)->vocab_size(), {}, &writer));
  return 0;
}
