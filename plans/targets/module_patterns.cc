#include "plans/targets/module_patterns.h"

#include "absl/strings/str_cat.h"
#include "plans/targets/layer_rules.h"
#include "plans/targets/patterns.h"

namespace bitbudget::internal {
namespace {

constexpr const char* kStored = "as stored";

ModulePattern MakePattern(std::string pattern, const std::string& value) {
  ModulePattern made{std::move(pattern), std::nullopt};
  if (value != kStored) made.format = *ParseFormat(value);
  return made;
}

}  // namespace

std::vector<ModulePattern> PatternsOf(const PlannedUnits& planned) {
  std::vector<ModulePattern> patterns;
  // Names are PREFIX.LAYER.SUFFIX; what stands before the number is the same in all layers.
  std::string before;
  std::vector<LayerEntry> entries;
  for (size_t u = 0; u < planned.units.size(); ++u) {
    const TargetUnit& unit = planned.units[u];
    if (unit.never_quantized) continue;
    const Format& format = planned.formats[u];
    const std::string value = format.IsFloat() ? std::string(kStored) : format.Name();
    std::vector<std::string> names = unit.names;
    if (!unit.fused_name.empty()) names.push_back(unit.fused_name);
    const int layer = planned.model.components[unit.parts[0]].layer;
    const std::string number = absl::StrCat(".", layer, ".");
    for (const std::string& name : names) {
      const size_t at = layer < 0 ? std::string::npos : name.find(number);
      const bool in_layer = at != std::string::npos &&
                            (entries.empty() || absl::string_view(name).substr(0, at) == before);
      if (!in_layer) {
        patterns.push_back(MakePattern(absl::StrCat("^", EscapeRegex(name), "$"), value));
        continue;
      }
      before = name.substr(0, at);
      entries.push_back({layer, name.substr(at + number.size()), value});
    }
  }
  for (const LayerRule& rule : CompactRules(entries)) {
    std::vector<std::string> suffixes;
    for (const std::string& suffix : rule.suffixes) suffixes.push_back(EscapeRegex(suffix));
    patterns.push_back(MakePattern(absl::StrCat("^",
                                                EscapeRegex(before),
                                                "\\.",
                                                NumbersRegex(rule.layers),
                                                "\\.",
                                                Alternatives(suffixes),
                                                "$"),
                                   rule.value));
  }
  return patterns;
}

}  // namespace bitbudget::internal
