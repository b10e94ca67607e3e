// A GGUF file from a stranger: container, configuration and tokenizer are read or refused in one
// line, and what was read can be used.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_check.h"

using bitbudget::Require;

namespace {

bool Refused(const absl::Status& status) { return bitbudget::Refused(status, "m.gguf"); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = bitbudget::ParseGguf(bytes, "m.gguf");
  if (Refused(file.status())) return 0;
  int64_t owned = 0;
  for (const bitbudget::GgufTensor& tensor : file->tensors) {
    Require(tensor.data.data() >= bytes.data());
    Require(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    owned += static_cast<int64_t>(tensor.data.size());
  }
  Require(owned <= static_cast<int64_t>(size));
  for (const bitbudget::GgufEntry& entry : file->entries) {
    Require(entry.value.Describe().size() <= 1000);
  }

  Refused(bitbudget::ConfigFromGguf(*file).status());

  auto tokenizer_data = bitbudget::TokenizerDataFromGguf(*file);
  if (Refused(tokenizer_data.status()) || !tokenizer_data->has_value()) return 0;
  const auto tokenizer = bitbudget::MakeTokenizer(**std::move(tokenizer_data));
  if (Refused(tokenizer.status())) return 0;
  // The file's own bytes are as strange a text as any.
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool special : {false, true}) {
    const auto ids = (*tokenizer)->Encode(text, {.parse_special = special});
    if (Refused(ids.status())) continue;
    for (const int32_t id : *ids) Require(id >= 0 && id < (*tokenizer)->vocab_size());
    (*tokenizer)->Decode(*ids);
  }
  return 0;
}
