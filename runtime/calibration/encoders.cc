#include "runtime/calibration/encoders.h"

#include "runtime/calibration/gptq_encoder.h"
#include "runtime/calibration/lwc.h"

namespace bitbudget {

absl::StatusOr<std::unique_ptr<Encoder>> MakeAnyEncoder(absl::string_view name) {
  if (name == "gptq") return MakeGptqEncoder();
  if (name == "auto") return MakeAutoEncoder();
  if (name == "lwc") return MakeLwcEncoder();
  return MakeEncoder(name);
}

}  // namespace bitbudget
