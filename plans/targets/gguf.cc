#include "plans/targets/gguf.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/layer_rules.h"
#include "plans/targets/patterns.h"
#include "plans/targets/units.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// Of a component, or of the joined matrix that it is a part of.
std::string TensorName(const TargetComponent& c, Tie tie) {
  static const auto* const names = new std::map<std::string, const char*>{{"q", "attn_q"},
                                                                          {"k", "attn_k"},
                                                                          {"v", "attn_v"},
                                                                          {"o", "attn_output"},
                                                                          {"gate", "ffn_gate"},
                                                                          {"up", "ffn_up"},
                                                                          {"down", "ffn_down"}};
  if (c.kind == "embed") return "token_embd.weight";
  if (c.kind == "head") return "output.weight";
  const Joined joined = tie == Tie::kJoined ? JoinedOf(c) : Joined::kNone;
  const char* name = joined == Joined::kQkv      ? "attn_qkv"
                     : joined == Joined::kGateUp ? "ffn_up"
                                                 : names->at(c.kind);
  return absl::StrCat("blk.", c.layer, ".", name, ".weight");
}

// A file type for the command line that quantizes, and to a type that the plan has nowhere: a
// rule whose type is the file's own was ignored by some versions.
absl::StatusOr<std::string> BaseType(const plans::Plan& plan, absl::string_view program) {
  std::set<std::string> used;
  for (const plans::Component& c : plan.components()) used.insert(c.format());
  // File types that are named like the one type that they mean.
  for (const char* base : {"Q5_1", "Q4_1", "Q5_0", "Q4_0", "Q8_0", "IQ4_NL", "Q6_K"}) {
    if (!used.contains(absl::AsciiStrToLower(base))) return std::string(base);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(program,
                   ": the plan uses every type that could be the file's own, and some versions "
                   "ignore rules for the file's own type; plan with fewer formats"));
}

// Rules for the whole plan, each tensor in exactly one: (pattern, format name).
std::vector<std::pair<std::string, std::string>> RulesFor(const PlannedUnits& planned) {
  std::vector<std::pair<std::string, std::string>> rules;
  std::vector<LayerEntry> entries;
  for (size_t u = 0; u < planned.units.size(); ++u) {
    const std::string& name = planned.units[u].names[0];
    const int layer = planned.model.components[planned.units[u].parts[0]].layer;
    if (layer < 0) {
      rules.emplace_back(absl::StrCat("^", EscapeRegex(name), "$"), planned.formats[u].Name());
      continue;
    }
    const std::string before = absl::StrCat("blk.", layer, ".");
    const std::string suffix(absl::StripSuffix(name.substr(before.size()), ".weight"));
    entries.push_back({layer, suffix, planned.formats[u].Name()});
  }
  for (const LayerRule& rule : CompactRules(entries)) {
    rules.emplace_back(
        absl::StrCat(
            "^blk\\.", NumbersRegex(rule.layers), "\\.", Alternatives(rule.suffixes), "\\.weight$"),
        rule.value);
  }
  return rules;
}

}  // namespace

std::vector<Format> GgufProfile::Formats() const {
  std::vector<Format> formats;
  for (const GgmlType* type : TypesOf(program_)) {
    const absl::StatusOr<Format> format = ParseFormat(type->FormatName());
    if (format.ok()) formats.push_back(*format);
  }
  return formats;
}

std::vector<Format> GgufProfile::DefaultFormats() const {
  // Those that llama.cpp's own mixes are made of, and the denser four-bit one: the legacy types
  // lose to these at their size, and ternary ones are for models trained so. Codebook types, which
  // take long to encode, are tried for small budgets only (DefaultFormats in planner/jobs).
  return FormatsNamed({"iq1_m",
                       "iq2_xxs",
                       "iq2_s",
                       "q2_k",
                       "iq3_xxs",
                       "iq3_s",
                       "q3_k",
                       "iq4_xs",
                       "q4_k",
                       "q5_k",
                       "q6_k",
                       "q8_0"});
}

std::vector<TargetUnit> GgufProfile::Units(const TargetModel& model) const {
  const Tie tie = StoresJoined(model) ? Tie::kJoined : Tie::kNothing;
  std::vector<TargetUnit> units = MakeUnits(model, tie);
  for (TargetUnit& unit : units) {
    unit.names = {TensorName(model.components[unit.parts[0]], tie)};
    unit.name_rows = {unit.rows};
  }
  return units;
}

absl::StatusOr<Format> GgufProfile::Resolve(const TargetUnit& unit, const Format& format) const {
  const std::vector<Format> formats = Formats();
  const std::string what = absl::StrCat(unit.names[0], " in ", format.Name(), ": ", name());
  if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " has no such type"));
  }
  const GgmlType* type = FindType(format.Name(), LetterCase::kIgnored);
  const GgmlType* substitute = TypeOfRow(*type, unit.cols, program_);
  if (substitute == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs rows of whole blocks of ",
                                                   type->block,
                                                   ", and these have ",
                                                   unit.cols,
                                                   " weights; it has no substitute"));
  }
  const absl::StatusOr<Format> resolved = ParseFormat(substitute->FormatName());
  if (resolved.ok()) return resolved;
  return absl::InvalidArgumentError(absl::StrCat(what,
                                                 " would take ",
                                                 substitute->name,
                                                 " for rows of ",
                                                 unit.cols,
                                                 ", which bitbudget cannot write"));
}

absl::StatusOr<Export> GgufProfile::ExportPlan(const plans::Plan& plan,
                                               const std::string& path) const {
  BB_ASSIGN_OR_RETURN(const PlannedUnits planned, UnitsOfPlan(*this, plan));
  BB_ASSIGN_OR_RETURN(const std::string base, BaseType(plan, name()));
  std::string text = FileHeader(plan);
  for (const auto& [pattern, format] : RulesFor(planned)) {
    const GgmlType* type = FindType(format, LetterCase::kIgnored);
    absl::StrAppend(&text, pattern, "=", TypeName(*type), "\n");
  }
  return Export{{{path, std::move(text)}}, Instructions(path, base)};
}

absl::StatusOr<FileReading> GgufProfile::Read(absl::string_view contents,
                                              const std::string& path,
                                              const TargetModel& model) const {
  FileReading file;
  BB_ASSIGN_OR_RETURN(std::vector<TypeRule> rules, ReadRules(contents, path, &file.problems));
  const std::vector<TargetUnit> units = Units(model);
  file.readings = BlankReadings(units, Names::kOwn);
  for (Reading& reading : file.readings) {
    const TargetUnit& unit = units[reading.unit];
    std::vector<const TypeRule*> matching;
    for (TypeRule& rule : rules) {
      BB_ASSIGN_OR_RETURN(const bool matches,
                          rule.regex.Matches(reading.name, Regex::Where::kAnywhere));
      if (!matches) continue;
      rule.used = true;
      matching.push_back(&rule);
    }
    if (matching.empty()) {
      reading.gets = "what the file type's own mix decides";
      reading.problems.push_back("no rule matches");
      continue;
    }
    reading.rule = matching.front()->text;
    const GgmlType& type = *matching.front()->type;
    const GgmlType* substitute = TypeOfRow(type, unit.cols, program_);
    if (substitute != &type) {
      reading.problems.push_back(absl::StrCat(
          "rows of ",
          unit.cols,
          " are not whole blocks of ",
          type.name,
          ": ",
          name(),
          substitute == nullptr ? " stops" : absl::StrCat(" takes ", substitute->name)));
    }
    if (substitute == nullptr) {
      reading.gets = "nothing";
    } else {
      if (substitute->imatrix == GgmlType::Imatrix::kRequired &&
          unit.names[0] != "token_embd.weight" && unit.names[0] != "output.weight") {
        reading.problems.push_back(
            absl::StrCat(substitute->name, " needs --imatrix, or ", name(), " stops"));
      }
      reading.gets = substitute->name;
      const absl::StatusOr<Format> format = ParseFormat(substitute->FormatName());
      if (format.ok()) reading.format = *format;
    }
    if (matching.size() > 1) NoteSeveral(matching, &reading);
  }
  for (const TypeRule& rule : rules) {
    if (!rule.used) file.unused.push_back(rule.text);
  }
  return file;
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

absl::StatusOr<TypeRule> MakeTypeRule(absl::string_view text,
                                      const std::string& pattern,
                                      const GgmlType* type,
                                      const std::string& path) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern, RegexDialect::kEcmaScript);
  if (!regex.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
  }
  return TypeRule{std::string(text), *std::move(regex), type};
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
