#ifndef BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_
#define BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_

#include <map>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// SHA-256 of an encoding's bytes, as plans record it.
std::string EncodingSha256(const Encoding& encoding);

// The SHA-256 of encodings, by component and format.
using EncodingHashes = std::map<ComponentFormat, std::string>;

// Encodes weights again and refuses bytes that are not those that were measured.
class CheckedWeightEncoder : public WeightEncoder {
 public:
  // Both outlive it. Takes any encoding until Expect() is called.
  CheckedWeightEncoder(const Model& model, const WeightEncoder& encoder)
      : model_(model), encoder_(encoder) {}

  // From now on, what has a hash here must have that hash.
  void Expect(EncodingHashes hashes) { expected_ = std::move(hashes); }

  // Errors: the encoder's; kFailedPrecondition, naming component and hashes, for unexpected bytes.
  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;
  void FreeWorkspace() const override { encoder_.FreeWorkspace(); }

 private:
  const Model& model_;
  const WeightEncoder& encoder_;
  EncodingHashes expected_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_
