#ifndef BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize/encoder.h"

namespace bitbudget {

// Ends the names of encoders whose encodings are then tuned layer by layer (layer_tuning.h).
inline constexpr absl::string_view kLayerTuning = "+block";

// The encoder of that name, of all that plans may record, without the tuning of layers.
// kInvalidArgument names the unknown text and lists what there is.
absl::StatusOr<std::unique_ptr<Encoder>> MakeAnyEncoder(absl::string_view name);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_
