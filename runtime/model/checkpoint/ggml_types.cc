#include "runtime/model/checkpoint/ggml_types.h"

#include "absl/status/statusor.h"

namespace bitbudget {
namespace {

// The numbers of the tensor types (ggml.h), those that this build does not read included.
struct TypeNumber {
  uint32_t number;
  const char* name;
};
constexpr TypeNumber kTypeNumbers[] = {
    {0, "f32"},     {1, "f16"},    {2, "q4_0"},     {3, "q4_1"},    {6, "q5_0"},     {7, "q5_1"},
    {8, "q8_0"},    {9, "q8_1"},   {10, "q2_k"},    {11, "q3_k"},   {12, "q4_k"},    {13, "q5_k"},
    {14, "q6_k"},   {15, "q8_k"},  {16, "iq2_xxs"}, {17, "iq2_xs"}, {18, "iq3_xxs"}, {19, "iq1_s"},
    {20, "iq4_nl"}, {21, "iq3_s"}, {22, "iq2_s"},   {23, "iq4_xs"}, {24, "i8"},      {25, "i16"},
    {26, "i32"},    {27, "i64"},   {28, "f64"},     {29, "iq1_m"},  {30, "bf16"},    {34, "tq1_0"},
    {35, "tq2_0"},  {39, "mxfp4"}, {40, "nvfp4"},   {41, "q1_0"},   {42, "q2_0"},
};

}  // namespace

const char* GgmlTypeName(uint32_t type) {
  for (const TypeNumber& known : kTypeNumbers) {
    if (known.number == type) return known.name;
  }
  return nullptr;
}

std::optional<Format> FormatOfGgmlType(uint32_t type) {
  const char* name = GgmlTypeName(type);
  if (name == nullptr) return std::nullopt;
  const absl::StatusOr<Format> format = ParseFormat(name);
  return format.ok() ? std::optional<Format>(*format) : std::nullopt;
}

std::optional<uint32_t> GgmlTypeOf(const Format& format) {
  for (const TypeNumber& known : kTypeNumbers) {
    if (format.Name() == known.name) return known.number;
  }
  return std::nullopt;
}

}  // namespace bitbudget
