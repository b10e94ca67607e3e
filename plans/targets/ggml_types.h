#ifndef BITBUDGET_PLANS_TARGETS_GGML_TYPES_H_
#define BITBUDGET_PLANS_TARGETS_GGML_TYPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// What llama.cpp and ik_llama.cpp know of tensor types, as far as rules for them go.
namespace bitbudget::internal {

enum class GgufProgram : uint8_t { kLlamaCpp, kIkLlama };

struct GgmlType {
  enum class In : uint8_t { kBoth, kLlamaCpp, kIkLlama };
  enum class Imatrix : uint8_t { kOptional, kRequired };  // required: llama-quantize stops without

  const char* name;           // ggml_type_name, which ik_llama.cpp compares with strcmp
  int block = 1;              // weights per block: rows are whole blocks
  const char* fallback = "";  // what llama-quantize takes for other rows; empty: it stops
  const char* ik_fallback = "";
  In in = In::kBoth;
  Imatrix imatrix = Imatrix::kOptional;

  std::string FormatName() const;  // as bitbudget spells it; it need not have such a format
};

// The types of a program.
std::vector<const GgmlType*> TypesOf(GgufProgram program);

// A program's type by its ggml_type_name; null: it has none.
enum class LetterCase : uint8_t { kMatters, kIgnored };
const GgmlType* FindGgmlType(absl::string_view name, LetterCase letters, GgufProgram program);

// What the program makes of a row of `cols` weights for which `type` is asked: the type, its
// substitute, or null where it stops.
const GgmlType* TypeOfRow(const GgmlType& type, int64_t cols, GgufProgram program);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_GGML_TYPES_H_
