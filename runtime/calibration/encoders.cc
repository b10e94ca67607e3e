#include "runtime/calibration/encoders.h"

#include "absl/strings/strip.h"
#include "runtime/base/status_macros.h"
#include "runtime/calibration/gptq_encoder.h"
#include "runtime/calibration/lwc.h"

namespace bitbudget {

absl::StatusOr<std::unique_ptr<Encoder>> MakeAnyEncoder(absl::string_view name) {
  BB_RETURN_IF_ERROR(CheckEncoderName(name));
  name = absl::StripSuffix(name, kBlockTuning);
  if (name == "gptq") return MakeGptqEncoder();
  if (name == "auto") return MakeAutoEncoder();
  if (name == "lwc") return MakeLwcEncoder();
  return MakeEncoder(name);
}

}  // namespace bitbudget
