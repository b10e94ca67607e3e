#include "runtime/quantize/encoders.h"

#include "absl/strings/strip.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/gptq_encoder.h"
#include "runtime/quantize/lwc.h"

namespace bitbudget {

absl::StatusOr<std::unique_ptr<Encoder>> MakeAnyEncoder(absl::string_view name) {
  BB_RETURN_IF_ERROR(CheckEncoderName(name));
  name = absl::StripSuffix(name, kLayerTuning);
  if (name == "gptq") return MakeGptqEncoder();
  if (name == "auto") return MakeAutoEncoder();
  if (name == "lwc") return MakeLwcEncoder();
  return MakeEncoder(name);
}

}  // namespace bitbudget
