#ifndef BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize/encoder.h"

namespace bitbudget {

// One row of the registry of encoders. A new encoder is a file of its own and a row in encoders.cc
// (docs/add-an-encoder.md).
struct EncoderInfo {
  absl::string_view name;         // as plans record it
  absl::string_view description;  // completes "NAME: ...", for help texts
  StatsNeed needs;                // equal to needs() of the encoder
  // Codes cannot be made again from a plan alone, as they can with the moments that it records: a
  // plan names the calibration text and holds the SHA-256 of every component's bytes.
  bool learns_from_text = false;
  // Tokens of its Gram matrices count by gradients (token_weights.h), for each component its own.
  bool weighs_tokens = false;
  // Encodings are then tuned layer by layer (layer_tuning.h).
  bool tunes_layers = false;
  std::unique_ptr<Encoder> (*make)() = nullptr;
};

// All encoders that plans may name, in the order in which help texts list them.
std::span<const EncoderInfo> Encoders();

// The row of that name; kInvalidArgument lists the known names and suggests the nearest.
absl::StatusOr<const EncoderInfo*> FindEncoder(absl::string_view name);

// The encoder of that name; whether layers are to be tuned after it is in its row. Errors: those
// of FindEncoder.
absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name);

// "rtn (...), clip (...), ...": names and descriptions, for help texts.
std::string DescribeEncoders();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ENCODERS_H_
