#ifndef BITBUDGET_RUNTIME_QUANTIZE_FISHER_STORE_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FISHER_STORE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/spill_file.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// The diagonals of the Fisher information of components. Those that do not fit into memory are in
// an unlinked file.
class FisherStore : public FisherSource {
 public:
  // Up to `max_bytes` stay in memory.
  FisherStore(int64_t max_bytes, std::string spill_directory)
      : max_bytes_(max_bytes), spill_(std::move(spill_directory)) {}

  // Errors: those of SpillFile.
  absl::Status Add(ComponentId id, std::span<const float> diagonal);

  absl::StatusOr<std::span<const float>> Find(ComponentId id,
                                              std::vector<float>* storage) const override;

 private:
  struct Spilled {
    int64_t offset;
    size_t size;
  };

  int64_t max_bytes_;
  int64_t held_bytes_ = 0;
  SpillFile spill_;
  std::map<ComponentId, std::variant<std::vector<float>, Spilled>> diagonals_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FISHER_STORE_H_
