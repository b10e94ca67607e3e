#ifndef BITBUDGET_PLANS_TARGETS_NAME_RULE_H_
#define BITBUDGET_PLANS_TARGETS_NAME_RULE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/targets/json_file.h"
#include "plans/targets/target.h"
#include "runtime/base/regex.h"

// Rules for module names in the JSON files of consumers that are written in Python.
namespace bitbudget::internal {

// What modules of one name, or of the names that a pattern matches, get.
struct NameRule {
  std::string text;             // as the file has it
  std::optional<Regex> regex;   // absent: `text` is the name
  const Json* value = nullptr;  // what they get; points into the file's JSON
  bool used = false;            // the rule has matched a name

  // `where` the consumer has patterns match. kInvalidArgument when a match takes too long.
  absl::StatusOr<bool> Matches(const std::string& name, Regex::Where where) const;
};

// A rule whose pattern is `pattern`, a part of `text`. kInvalidArgument names `path` and the
// pattern.
absl::StatusOr<NameRule> PatternRule(const std::string& text,
                                     const std::string& pattern,
                                     const Json* value,
                                     const std::string& path);

// "re:PATTERN" is a pattern, any other text a name. Errors as for PatternRule.
absl::StatusOr<NameRule> NameOrPatternRule(const std::string& text,
                                           const Json* value,
                                           const std::string& path);

// Adds the rules that have matched nothing to the file's unused ones.
void AddUnused(const std::vector<NameRule>& rules, FileReading* file);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_NAME_RULE_H_
