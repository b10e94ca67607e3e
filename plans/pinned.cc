#include "plans/pinned.h"

#include <string>

#include "runtime/base/regex.h"

namespace bitbudget {

bool IsPinned(const plans::Plan& plan, const plans::Component& component) {
  for (const std::string& pin : plan.options().pins()) {
    const auto regex = Regex::Compile(pin.substr(0, pin.rfind('=')), RegexDialect::kEcmaScript);
    if (!regex.ok()) continue;
    const auto matches = regex->Matches(component.name(), Regex::Where::kAnywhere);
    if (matches.ok() && *matches) return true;
  }
  return false;
}

}  // namespace bitbudget
