#include "plans/json_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/json_text.h"

namespace bitbudget {
namespace {

// What a field is called now, by the two spellings that the proto3 JSON mapping reads.
struct Renamed {
  absl::string_view before, now;
};
constexpr Renamed kRenamed[] = {{"block", "layer"},
                                {"zero_permille", "sparsity_permille"},
                                {"zeroPermille", "sparsityPermille"}};

// Where the string that starts at json[begin] == '"' ends: just past its closing quote.
size_t EndOfString(absl::string_view json, size_t begin) {
  for (size_t i = begin + 1; i < json.size(); ++i) {
    if (json[i] == '\\')
      ++i;
    else if (json[i] == '"')
      return i + 1;
  }
  return json.size();
}

}  // namespace

std::string WithCurrentFieldNames(absl::string_view json) {
  std::string text;
  text.reserve(json.size());
  for (size_t at = 0; at < json.size();) {
    const size_t quote = json.find('"', at);
    if (quote == absl::string_view::npos) {
      absl::StrAppend(&text, json.substr(at));
      break;
    }
    const size_t end = EndOfString(json, quote);
    size_t next = end;
    while (next < json.size() && absl::ascii_isspace(json[next])) ++next;
    absl::string_view string = json.substr(quote, end - quote);
    absl::StrAppend(&text, json.substr(at, quote - at));
    const bool is_key = next < json.size() && json[next] == ':';
    const Renamed* renamed = nullptr;
    for (const Renamed& name : kRenamed) {
      if (is_key && string.size() == name.before.size() + 2 &&
          string.substr(1, name.before.size()) == name.before) {
        renamed = &name;
      }
    }
    if (renamed != nullptr) {
      absl::StrAppend(&text, "\"", renamed->now, "\"");
    } else {
      absl::StrAppend(&text, string);
    }
    at = end;
  }
  return text;
}

std::string WithoutSummary(absl::string_view json) {
  // Plans that were written as such are not parsed twice.
  if (!absl::StrContains(json, absl::StrCat("\"", kSummaryKey, "\""))) return std::string(json);
  absl::StatusOr<nlohmann::ordered_json> plan = ParseOrderedJson(json, "", DuplicateKeys::kRefuse);
  if (!plan.ok() || !plan->is_object()) return std::string(json);
  plan->erase(kSummaryKey);
  return DumpJson(*plan);
}

}  // namespace bitbudget
