#ifndef BITBUDGET_PLANS_TARGETS_GGUF_H_
#define BITBUDGET_PLANS_TARGETS_GGUF_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/targets/target.h"

// What llama.cpp and ik_llama.cpp have in common: tensor names, types, rules of the form
// PATTERN=TYPE.
namespace bitbudget::internal {

// A ggml type, as far as rules for it go.
struct GgmlType {
  const char* format;         // here: in lower case
  const char* name;           // ggml_type_name, which ik_llama.cpp compares with strcmp
  int block = 1;              // weights per block: rows are whole blocks
  const char* fallback = "";  // what llama-quantize takes for other rows; empty: it stops
  const char* ik_fallback = "";
  bool in_llama = true;
  bool in_ik = true;
  bool needs_imatrix = false;  // llama-quantize stops without one
};
std::span<const GgmlType> GgmlTypes();
// By ggml_type_name, in any case or exactly; null: there is none.
const GgmlType* FindGgmlType(absl::string_view name, bool any_case);

class GgufProfile : public TargetProfile {
 public:
  std::vector<Format> Formats() const override;
  std::vector<Format> DefaultFormats() const override;
  bool WritesGguf() const override { return true; }
  bool ConvertsFloats() const override { return true; }
  std::vector<TargetUnit> Units(const TargetModel& model) const override;
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override;

 protected:
  explicit GgufProfile(bool ik) : ik_(ik) {}

  bool Has(const GgmlType& type) const { return ik_ ? type.in_ik : type.in_llama; }

  // Rules of the whole plan, each tensor in exactly one: (pattern, format name).
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> Rules(
      const plans::Plan& plan) const;

  // A file type for the command line that quantizes, and to a type that the plan has nowhere: a
  // rule whose type is the file's own was ignored by some versions.
  absl::StatusOr<std::string> BaseType(const plans::Plan& plan) const;

  // Sets what a tensor gets when a rule says `type`, with the substitute for rows of its length.
  void GetsType(const GgmlType& type, const TargetUnit& unit, Reading* reading) const;

 private:
  const bool ik_;
};

// Splits "PATTERN=TYPE" at the first '='. kInvalidArgument names `path` and the text.
absl::StatusOr<std::pair<std::string, std::string>> SplitTypeRule(absl::string_view text,
                                                                  const std::string& path);

// For a POSIX shell; as it stands where it needs no quotes.
std::string ShellQuote(const std::string& text);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_GGUF_H_
