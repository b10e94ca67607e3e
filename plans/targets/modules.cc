#include "plans/targets/modules.h"

#include <glog/logging.h>

#include <algorithm>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/regex.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// Which matrix of a layer a component belongs to when some are joined: 0 none, 1 q k v, 2 gate up.
int JoinOf(const TargetComponent& c) {
  if (c.kind == "q" || c.kind == "k" || c.kind == "v") return 1;
  return c.kind == "gate" || c.kind == "up" ? 2 : 0;
}

// "model.layers.0.self_attn.q_proj" as "model.layers.0.self_attn." + "qkv_proj".
std::string JoinedName(const TargetComponent& c) {
  const size_t dot = c.name.rfind('.');
  return absl::StrCat(c.name.substr(0, dot == std::string::npos ? 0 : dot + 1),
                      JoinOf(c) == 1 ? "qkv_proj" : "gate_up_proj");
}

}  // namespace

std::vector<Format> ModuleProfile::DefaultFormats() const {
  std::vector<Format> formats = Formats();
  std::erase_if(formats, [](const Format& format) { return format.IsFloat(); });
  return formats;
}

std::vector<TargetUnit> ModuleProfile::Units(const TargetModel& model) const {
  // Phi-3's checkpoints hold q, k, v and gate, up as one module each.
  const bool stored_joined = absl::StartsWith(model.architecture, "Phi3");
  std::vector<TargetUnit> units;
  for (size_t i = 0; i < model.components.size(); ++i) {
    const TargetComponent& c = model.components[i];
    const int join = JoinOf(c);
    if (join != 0 && (stored_joined || rules_.loader_joins) && !units.empty()) {
      TargetUnit& last = units.back();
      const TargetComponent& first = model.components[last.parts[0]];
      if (first.layer == c.layer && JoinOf(first) == join) {
        last.parts.push_back(static_cast<int>(i));
        last.rows += c.rows;
        if (stored_joined) {
          last.name_rows[0] += c.rows;
        } else {
          last.names.push_back(c.name);
          last.name_rows.push_back(c.rows);
        }
        continue;
      }
    }
    TargetUnit& unit = units.emplace_back();
    unit.parts = {static_cast<int>(i)};
    unit.rows = c.rows;
    unit.cols = c.cols;
    unit.names = {join != 0 && stored_joined ? JoinedName(c) : c.name};
    unit.name_rows = {c.rows};
    if (join != 0 && !stored_joined && rules_.loader_joins) unit.fused_name = JoinedName(c);
    unit.never_quantized = (c.kind == "embed" && !rules_.quantizes_embedding) ||
                           (c.kind == "head" && !rules_.quantizes_head);
  }
  return units;
}

absl::StatusOr<Format> ModuleProfile::Resolve(const TargetUnit& unit, const Format& format) const {
  if (format.IsFloat()) return format;
  const std::vector<Format> formats = Formats();
  const std::string what = absl::StrCat(unit.names[0], " in ", format.Name(), ": ", name());
  if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " has no such format"));
  }
  if (unit.never_quantized) {
    return absl::InvalidArgumentError(absl::StrCat(what, " does not quantize this module"));
  }
  const int64_t group = format.GroupSize(unit.cols);
  if (unit.cols % group != 0 || unit.cols % rules_.cols_multiple != 0) {
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs a number of inputs that ",
                                                   std::max(group, rules_.cols_multiple),
                                                   " divides, and this has ",
                                                   unit.cols));
  }
  const auto check_rows = [&](int64_t rows, int64_t multiple, const char* of) {
    if (rows % multiple == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs a number of outputs",
                                                   of,
                                                   " that ",
                                                   multiple,
                                                   " divides, and this has ",
                                                   rows));
  };
  for (const int64_t rows : unit.name_rows) {
    BB_RETURN_IF_ERROR(check_rows(rows, rules_.rows_multiple, ""));
  }
  BB_RETURN_IF_ERROR(
      check_rows(unit.rows, rules_.joined_rows_multiple, " (of all that is joined)"));
  return format;
}

IntScheme SchemeOf(const Format& format) {
  CHECK(format.IsInteger());
  return {format.bits, format.group == 0 ? -1 : format.group, !format.zero_point};
}

std::optional<Format> FormatOf(const IntScheme& scheme) {
  for (const Format& format : SupportedFormats()) {
    if (format.IsInteger() && SchemeOf(format) == scheme) return format;
  }
  return std::nullopt;
}

std::string Describe(const IntScheme& scheme) {
  return absl::StrCat(
      scheme.bits,
      " bits, ",
      scheme.group < 0 ? "one group per row" : absl::StrCat("groups of ", scheme.group),
      scheme.symmetric ? ", symmetric" : ", with zero points");
}

void GetsScheme(const IntScheme& scheme, Reading* reading) {
  reading->gets = Describe(scheme);
  reading->format = FormatOf(scheme);
  reading->kept = false;
}

void GetsKept(Reading* reading) {
  reading->gets = "as stored";
  reading->format.reset();
  reading->kept = true;
}

std::vector<Reading> BlankReadings(const std::vector<TargetUnit>& units, bool fused) {
  std::vector<Reading> readings;
  for (size_t u = 0; u < units.size(); ++u) {
    std::vector<std::string> names = units[u].names;
    if (fused && !units[u].fused_name.empty()) names.push_back(units[u].fused_name);
    for (const std::string& name : names) {
      Reading& reading = readings.emplace_back();
      reading.unit = static_cast<int>(u);
      reading.name = name;
    }
  }
  return readings;
}

std::vector<PatternRule> PatternRules(const std::vector<TargetUnit>& units,
                                      const TargetModel& model,
                                      const std::vector<std::string>& values) {
  CHECK_EQ(units.size(), values.size());
  std::vector<PatternRule> rules;
  // Names are PREFIX.LAYER.SUFFIX; what stands before the number is the same in all layers.
  std::string before;
  std::vector<LayerEntry> entries;
  for (size_t u = 0; u < units.size(); ++u) {
    if (values[u].empty()) continue;
    std::vector<std::string> names = units[u].names;
    if (!units[u].fused_name.empty()) names.push_back(units[u].fused_name);
    const int layer = model.components[units[u].parts[0]].layer;
    const std::string number = absl::StrCat(".", layer, ".");
    for (const std::string& name : names) {
      const size_t at = layer < 0 ? std::string::npos : name.find(number);
      const bool in_layer = at != std::string::npos &&
                            (entries.empty() || absl::string_view(name).substr(0, at) == before);
      if (!in_layer) {
        rules.push_back({absl::StrCat("^", EscapeRegex(name), "$"), values[u]});
        continue;
      }
      before = name.substr(0, at);
      entries.push_back({layer, name.substr(at + number.size()), values[u]});
    }
  }
  for (const LayerRule& rule : CompactRules(entries)) {
    std::vector<std::string> suffixes;
    for (const std::string& suffix : rule.suffixes) suffixes.push_back(EscapeRegex(suffix));
    rules.push_back({absl::StrCat("^",
                                  EscapeRegex(before),
                                  "\\.",
                                  NumbersRegex(rule.layers),
                                  "\\.",
                                  Alternatives(suffixes),
                                  "$"),
                     rule.value});
  }
  return rules;
}

std::vector<Format> FormatsNamed(std::span<const char* const> names) {
  std::vector<Format> formats;
  for (const char* name : names) {
    const absl::StatusOr<Format> format = ParseFormat(name);
    CHECK(format.ok()) << format.status();
    formats.push_back(*format);
  }
  return formats;
}

}  // namespace bitbudget::internal
