#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_PRE_TOKENIZER_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_PRE_TOKENIZER_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/regex.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// Cuts text into the pieces that are encoded on their own.
class PreTokenizer {
 public:
  // Errors: an expression that does not compile, by its number and text.
  static absl::StatusOr<PreTokenizer> Create(std::span<const SplitStep> steps);

  // The pieces, in order, none empty; without steps the text is the only one. They point into the
  // text. REQUIRES: well-formed UTF-8. Errors: those of Regex::FindAll().
  absl::StatusOr<std::vector<absl::string_view>> Split(absl::string_view text) const;

 private:
  struct Step {
    Regex regex;
    SplitBehavior behavior;
  };
  std::vector<Step> steps_;
};

// A pre-tokenizer that has a name in GGUF files (tokenizer.ggml.pre). `names` are synonyms; the
// first one is written.
struct KnownPreTokenizer {
  std::vector<const char*> names;
  std::vector<SplitStep> steps;
  bool ignore_merges;
  bool add_bos;  // when tokenizer.ggml.add_bos_token is absent
};

// Null when the name is unknown.
const KnownPreTokenizer* FindPreTokenizer(absl::string_view name);

// The name of a pre-tokenizer that tokenizer.json spells out; empty when it has none.
std::string NameOfPreTokenizer(std::span<const SplitStep> steps, bool ignore_merges);

// GPT-2's expression, which tokenizer.json calls the ByteLevel pre-tokenizer.
extern const char kGpt2Expression[];

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_PRE_TOKENIZER_H_
