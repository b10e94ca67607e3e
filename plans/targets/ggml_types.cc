#include "plans/targets/ggml_types.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace bitbudget::internal {
namespace {

using In = GgmlType::In;
using Imatrix = GgmlType::Imatrix;

// Substitutes: llama.cpp src/llama-quant.cpp (007dbbf3) and ik_llama.cpp src/llama-quantize.cpp
// (0296c609). Types that bitbudget cannot write are here so that rules for them can be read.
constexpr GgmlType kTypes[] = {
    {"f32"},
    {"f16"},
    {"bf16"},
    {"q4_0", 32},
    {"q4_1", 32},
    {"q5_0", 32},
    {"q5_1", 32},
    {"q8_0", 32},
    {"q2_K", 256, "q4_0", "iq3_kt"},
    {"q3_K", 256, "q4_0", "iq4_kt"},
    {"q4_K", 256, "q5_0", "q5_0"},
    {"q5_K", 256, "q5_1", "q6_0"},
    {"q6_K", 256, "q8_0", "q8_0"},
    {"iq4_nl", 32},
    {"iq4_xs", 256, "iq4_nl", "iq4_nl"},
    {"tq1_0", 256, "q4_0", "", In::kLlamaCpp},
    {"tq2_0", 256, "q4_0", "", In::kLlamaCpp},
    {"q1_0", 128, "", "", In::kLlamaCpp},
    {"q2_0", 64, "q4_0", "", In::kLlamaCpp},
    {"mxfp4", 32},
    {"nvfp4", 64, "", "", In::kLlamaCpp},
    {"iq1_s", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq1_m", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq2_xxs", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq2_xs", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq2_s", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq3_xxs", 256, "iq4_nl", "iq3_kt", In::kBoth, Imatrix::kRequired},
    {"iq3_s", 256, "iq4_nl", "iq4_kt"},
    {"q6_0", 32, "", "", In::kIkLlama},
    {"iq2_k", 256, "", "iq3_kt", In::kIkLlama},
    {"iq3_k", 256, "", "iq4_kt", In::kIkLlama},
    {"iq4_k", 256, "", "q5_0", In::kIkLlama},
    {"iq5_k", 256, "", "q6_0", In::kIkLlama},
    {"iq6_k", 256, "", "q8_0", In::kIkLlama},
    {"iq2_ks", 256, "", "iq3_kt", In::kIkLlama},
    {"iq3_ks", 256, "", "iq4_kt", In::kIkLlama},
    {"iq4_ks", 256, "", "iq4_nl", In::kIkLlama},
    {"iq4_kss", 256, "", "iq4_nl", In::kIkLlama},
    {"iq5_ks", 256, "", "q5_0", In::kIkLlama},
    {"iq2_kl", 256, "", "iq3_kt", In::kIkLlama},
    {"iq1_kt", 256, "", "iq3_kt", In::kIkLlama},
    {"iq2_kt", 256, "", "iq3_kt", In::kIkLlama},
    {"iq3_kt", 256, "", "iq4_nl", In::kIkLlama},
    {"iq4_kt", 256, "", "iq4_nl", In::kIkLlama},
};

bool Has(GgufProgram program, const GgmlType& type) {
  return type.in == In::kBoth || (type.in == In::kIkLlama) == (program == GgufProgram::kIkLlama);
}

}  // namespace

std::string GgmlType::FormatName() const { return absl::AsciiStrToLower(name); }

std::vector<const GgmlType*> TypesOf(GgufProgram program) {
  std::vector<const GgmlType*> types;
  for (const GgmlType& type : kTypes) {
    if (Has(program, type)) types.push_back(&type);
  }
  return types;
}

const GgmlType* FindGgmlType(absl::string_view name, LetterCase letters, GgufProgram program) {
  for (const GgmlType* type : TypesOf(program)) {
    const bool same = letters == LetterCase::kIgnored ? absl::EqualsIgnoreCase(type->name, name)
                                                      : name == type->name;
    if (same) return type;
  }
  return nullptr;
}

const GgmlType* TypeOfRow(const GgmlType& type, int64_t cols, GgufProgram program) {
  if (cols % type.block == 0) return &type;
  const bool ik = program == GgufProgram::kIkLlama;
  const GgmlType* fallback =
      FindGgmlType(ik ? type.ik_fallback : type.fallback, LetterCase::kMatters, program);
  if (fallback == nullptr || cols % fallback->block == 0) return fallback;
  return FindGgmlType("f16", LetterCase::kMatters, program);
}

}  // namespace bitbudget::internal
