#ifndef BITBUDGET_TESTS_SUPPORT_REFERENCE_WEIGHTS_H_
#define BITBUDGET_TESTS_SUPPORT_REFERENCE_WEIGHTS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// The unmodified model, all of it in memory.
class ReferenceWeights : public WeightSource {
 public:
  // Packs on `threads` threads. The model outlives the weights.
  ReferenceWeights(const Model& model, int threads);
  const WeightSet& set() const { return set_; }
  absl::StatusOr<WeightLease> Pin(int first, int end, int threads) override;

 private:
  std::vector<std::optional<ComponentWeights>> owned_;
  WeightSet set_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_REFERENCE_WEIGHTS_H_
