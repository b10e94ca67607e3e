#include "plans/targets/format_lists.h"

#include <glog/logging.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace bitbudget::internal {

std::vector<Format> FormatsNamed(std::initializer_list<absl::string_view> names) {
  std::vector<Format> formats;
  const auto add = [&](const std::string& name) {
    const absl::StatusOr<Format> format = ParseFormat(name);
    CHECK(format.ok()) << format.status();
    formats.push_back(*format);
  };
  for (absl::string_view name : names) {
    if (!absl::ConsumeSuffix(&name, "*")) {
      add(std::string(name));
      continue;
    }
    for (const int group : {32, 64, 128}) add(absl::StrCat(name, group));
  }
  return formats;
}

}  // namespace bitbudget::internal
