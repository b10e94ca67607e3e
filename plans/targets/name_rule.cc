#include "plans/targets/name_rule.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace bitbudget::internal {

absl::StatusOr<bool> NameRule::Matches(const std::string& name, Regex::Where where) const {
  if (!regex.has_value()) return text == name;
  return regex->Matches(name, where);
}

absl::StatusOr<NameRule> PatternRule(const std::string& text,
                                     const std::string& pattern,
                                     const Json* value,
                                     const std::string& path) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern, RegexDialect::kPython);
  if (!regex.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
  }
  return NameRule{text, *std::move(regex), value};
}

absl::StatusOr<NameRule> NameOrPatternRule(const std::string& text,
                                           const Json* value,
                                           const std::string& path) {
  absl::string_view pattern = text;
  if (!absl::ConsumePrefix(&pattern, "re:")) return NameRule{text, std::nullopt, value};
  return PatternRule(text, std::string(pattern), value, path);
}

void AddUnused(const std::vector<NameRule>& rules, FileReading* file) {
  for (const NameRule& rule : rules) {
    if (!rule.used) file->unused.push_back(rule.text);
  }
}

}  // namespace bitbudget::internal
