#include "planner/workspace/options.h"

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"

namespace bitbudget {

absl::Status WorkspaceOptions::Validate() const {
  BB_RETURN_IF_ERROR(FindEncoder(encoder).status());
  if (threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the number of threads is ", threads, ", must be at least 1"));
  }
  return probes.Validate();
}

}  // namespace bitbudget
