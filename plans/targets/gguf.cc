#include "plans/targets/gguf.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "plans/targets/layer_rules.h"
#include "plans/targets/modules.h"
#include "plans/targets/regex.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// Substitutes: llama.cpp src/llama-quant.cpp (007dbbf3) and ik_llama.cpp src/llama-quantize.cpp
// (0296c609). Types of one of the two that bitbudget cannot write are here so that a rule for them
// is read as what it is.
constexpr GgmlType kTypes[] = {
    {"f32", "f32"},
    {"f16", "f16"},
    {"bf16", "bf16"},
    {"q4_0", "q4_0", 32},
    {"q4_1", "q4_1", 32},
    {"q5_0", "q5_0", 32},
    {"q5_1", "q5_1", 32},
    {"q8_0", "q8_0", 32},
    {"q2_k", "q2_K", 256, "q4_0", "iq3_kt"},
    {"q3_k", "q3_K", 256, "q4_0", "iq4_kt"},
    {"q4_k", "q4_K", 256, "q5_0", "q5_0"},
    {"q5_k", "q5_K", 256, "q5_1", "q6_0"},
    {"q6_k", "q6_K", 256, "q8_0", "q8_0"},
    {"iq4_nl", "iq4_nl", 32},
    {"iq4_xs", "iq4_xs", 256, "iq4_nl", "iq4_nl"},
    {"tq1_0", "tq1_0", 256, "q4_0", "", true, false},
    {"tq2_0", "tq2_0", 256, "q4_0", "", true, false},
    {"q1_0", "q1_0", 128, "", "", true, false},
    {"q2_0", "q2_0", 64, "q4_0", "", true, false},
    {"mxfp4", "mxfp4", 32},
    {"nvfp4", "nvfp4", 64, "", "", true, false},
    {"iq1_s", "iq1_s", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq1_m", "iq1_m", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq2_xxs", "iq2_xxs", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq2_xs", "iq2_xs", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq2_s", "iq2_s", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq3_xxs", "iq3_xxs", 256, "iq4_nl", "iq3_kt", true, true, true},
    {"iq3_s", "iq3_s", 256, "iq4_nl", "iq4_kt"},
    {"q6_0", "q6_0", 32, "", "", false, true},
    {"iq2_k", "iq2_k", 256, "", "iq3_kt", false, true},
    {"iq3_k", "iq3_k", 256, "", "iq4_kt", false, true},
    {"iq4_k", "iq4_k", 256, "", "q5_0", false, true},
    {"iq5_k", "iq5_k", 256, "", "q6_0", false, true},
    {"iq6_k", "iq6_k", 256, "", "q8_0", false, true},
    {"iq2_ks", "iq2_ks", 256, "", "iq3_kt", false, true},
    {"iq3_ks", "iq3_ks", 256, "", "iq4_kt", false, true},
    {"iq4_ks", "iq4_ks", 256, "", "iq4_nl", false, true},
    {"iq4_kss", "iq4_kss", 256, "", "iq4_nl", false, true},
    {"iq5_ks", "iq5_ks", 256, "", "q5_0", false, true},
    {"iq2_kl", "iq2_kl", 256, "", "iq3_kt", false, true},
    {"iq1_kt", "iq1_kt", 256, "", "iq3_kt", false, true},
    {"iq2_kt", "iq2_kt", 256, "", "iq3_kt", false, true},
    {"iq3_kt", "iq3_kt", 256, "", "iq4_nl", false, true},
    {"iq4_kt", "iq4_kt", 256, "", "iq4_nl", false, true},
};

// What a row of `cols` weights gets; null: the program stops.
const GgmlType* Substitute(const GgmlType& type, int64_t cols, bool ik) {
  if (cols % type.block == 0) return &type;
  const GgmlType* fallback = FindGgmlType(ik ? type.ik_fallback : type.fallback, false);
  if (fallback == nullptr) return nullptr;
  return cols % fallback->block == 0 ? fallback : FindGgmlType("f16", false);
}

std::string TensorName(const TargetComponent& c, bool joined) {
  static const auto* const names = new std::map<std::string, const char*>{{"q", "attn_q"},
                                                                          {"k", "attn_k"},
                                                                          {"v", "attn_v"},
                                                                          {"o", "attn_output"},
                                                                          {"gate", "ffn_gate"},
                                                                          {"up", "ffn_up"},
                                                                          {"down", "ffn_down"}};
  if (c.kind == "embed") return "token_embd.weight";
  if (c.kind == "head") return "output.weight";
  const bool attention = c.kind == "q" || c.kind == "k" || c.kind == "v";
  const std::string name = joined ? (attention ? "attn_qkv" : "ffn_up") : names->at(c.kind);
  return absl::StrCat("blk.", c.layer, ".", name, ".weight");
}

}  // namespace

std::span<const GgmlType> GgmlTypes() { return kTypes; }

const GgmlType* FindGgmlType(absl::string_view name, bool any_case) {
  for (const GgmlType& type : kTypes) {
    if (any_case ? absl::EqualsIgnoreCase(type.name, name) : name == type.name) return &type;
  }
  return nullptr;
}

std::vector<Format> GgufProfile::Formats() const {
  std::vector<Format> formats;
  for (const GgmlType& type : kTypes) {
    const absl::StatusOr<Format> format = ParseFormat(type.format);
    if (Has(type) && format.ok()) formats.push_back(*format);
  }
  return formats;
}

std::vector<Format> GgufProfile::DefaultFormats() const {
  // One type per width, those that llama.cpp's own mixes are made of, and the denser four-bit one:
  // the legacy types lose to these at their size, and ternary ones are for models trained so.
  static constexpr const char* kNames[] = {
      "q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0"};
  return FormatsNamed(kNames);
}

std::vector<TargetUnit> GgufProfile::Units(const TargetModel& model) const {
  const bool phi3 = absl::StartsWith(model.architecture, "Phi3");
  std::vector<TargetUnit> units;
  std::map<std::string, size_t> known;  // unit by tensor name
  for (size_t i = 0; i < model.components.size(); ++i) {
    const TargetComponent& c = model.components[i];
    const bool joined = phi3 && c.layer >= 0 && c.kind != "o" && c.kind != "down";
    const std::string name = TensorName(c, joined);
    const auto [at, added] = known.insert({name, units.size()});
    if (added) {
      units.emplace_back();
      units.back().names = {name};
      units.back().name_rows = {0};
      units.back().cols = c.cols;
    }
    units[at->second].name_rows[0] += c.rows;
    units[at->second].parts.push_back(static_cast<int>(i));
    units[at->second].rows += c.rows;
  }
  return units;
}

absl::StatusOr<Format> GgufProfile::Resolve(const TargetUnit& unit, const Format& format) const {
  const std::vector<Format> formats = Formats();
  const std::string what = absl::StrCat(unit.names[0], " in ", format.Name(), ": ", name());
  if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " has no such type"));
  }
  const GgmlType* type = FindGgmlType(format.Name(), /*any_case=*/true);
  const GgmlType* substitute = Substitute(*type, unit.cols, ik_);
  if (substitute == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs rows of whole blocks of ",
                                                   type->block,
                                                   ", and these have ",
                                                   unit.cols,
                                                   " weights; it has no substitute"));
  }
  const absl::StatusOr<Format> resolved = ParseFormat(substitute->format);
  if (resolved.ok()) return resolved;
  return absl::InvalidArgumentError(absl::StrCat(what,
                                                 " would take ",
                                                 substitute->name,
                                                 " for rows of ",
                                                 unit.cols,
                                                 ", which bitbudget cannot write"));
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> GgufProfile::Rules(
    const plans::Plan& plan) const {
  const TargetModel model = ModelOfPlan(plan);
  const std::vector<TargetUnit> units = Units(model);
  BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
  std::vector<std::pair<std::string, std::string>> rules;
  std::vector<LayerEntry> entries;
  for (size_t u = 0; u < units.size(); ++u) {
    const std::string& name = units[u].names[0];
    const int layer = model.components[units[u].parts[0]].layer;
    if (layer < 0) {
      rules.emplace_back(absl::StrCat("^", EscapeRegex(name), "$"), formats[u].Name());
      continue;
    }
    const std::string before = absl::StrCat("blk.", layer, ".");
    const std::string suffix(absl::StripSuffix(name.substr(before.size()), ".weight"));
    entries.push_back({layer, suffix, formats[u].Name()});
  }
  for (const LayerRule& rule : CompactRules(entries)) {
    rules.emplace_back(
        absl::StrCat(
            "^blk\\.", NumbersRegex(rule.layers), "\\.", Alternatives(rule.suffixes), "\\.weight$"),
        rule.value);
  }
  return rules;
}

absl::StatusOr<std::string> GgufProfile::BaseType(const plans::Plan& plan) const {
  std::set<std::string> used;
  for (const plans::Component& c : plan.components()) used.insert(c.format());
  // File types that are named like the one type that they mean.
  for (const char* base : {"Q5_1", "Q4_1", "Q5_0", "Q4_0", "Q8_0", "IQ4_NL", "Q6_K"}) {
    if (!used.contains(absl::AsciiStrToLower(base))) return std::string(base);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name(),
                   ": the plan uses every type that could be the file's own, and a rule for the "
                   "file's own type is ignored by some versions; plan with fewer --formats"));
}

void GgufProfile::GetsType(const GgmlType& type, const TargetUnit& unit, Reading* reading) const {
  const GgmlType* substitute = Substitute(type, unit.cols, ik_);
  if (substitute == nullptr) {
    reading->gets = "nothing";
    reading->problems.push_back(absl::StrCat(
        "rows of ", unit.cols, " are no whole blocks of ", type.name, ": ", name(), " stops"));
    return;
  }
  if (substitute != &type) {
    reading->problems.push_back(absl::StrCat("rows of ",
                                             unit.cols,
                                             " are no whole blocks of ",
                                             type.name,
                                             ": ",
                                             name(),
                                             " takes ",
                                             substitute->name));
  }
  if (substitute->needs_imatrix && unit.names[0] != "token_embd.weight" &&
      unit.names[0] != "output.weight") {
    reading->problems.push_back(
        absl::StrCat(substitute->name, " needs --imatrix, or ", name(), " stops"));
  }
  reading->gets = substitute->name;
  const absl::StatusOr<Format> format = ParseFormat(substitute->format);
  if (format.ok()) reading->format = *format;
}

absl::StatusOr<std::pair<std::string, std::string>> SplitTypeRule(absl::string_view text,
                                                                  const std::string& path) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": '", absl::CHexEscape(text.substr(0, 100)), "' is not of the form PATTERN=TYPE"));
  }
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

std::string ShellQuote(const std::string& text) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("._-/+,:@%").find(c) != absl::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace bitbudget::internal
