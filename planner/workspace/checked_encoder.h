#ifndef BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_
#define BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "plans/plan.pb.h"
#include "runtime/eval/assignment.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// SHA-256 of an encoding's bytes, as plans record it.
std::string EncodingSha256(const Encoding& encoding);

// An encoder of weights whose encodings must be those that a plan was measured with, wherever the
// plan has their hashes.
class CheckedWeightEncoder : public WeightEncoder {
 public:
  // Both outlive it. Expects nothing yet.
  CheckedWeightEncoder(const Model& model, const WeightEncoder& encoder)
      : model_(model), encoder_(encoder) {}

  void Expect(const plans::Plan& plan);

  // The errors of the encoder, and kFailedPrecondition for other bytes than expected.
  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;

 private:
  const Model& model_;
  const WeightEncoder& encoder_;
  std::map<ComponentFormat, std::string> expected_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_CHECKED_ENCODER_H_
