#include "runtime/quantize/fisher_store.h"

#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::Status FisherStore::Add(ComponentId id, std::span<const float> diagonal) {
  const int64_t bytes = static_cast<int64_t>(diagonal.size_bytes());
  if (held_bytes_ + bytes <= max_bytes_) {
    held_bytes_ += bytes;
    diagonals_[id] = std::vector<float>(diagonal.begin(), diagonal.end());
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(const int64_t offset,
                      spill_.Append({reinterpret_cast<const uint8_t*>(diagonal.data()),
                                     static_cast<size_t>(bytes)}));
  diagonals_[id] = Spilled{offset, diagonal.size()};
  return absl::OkStatus();
}

absl::StatusOr<std::span<const float>> FisherStore::Find(ComponentId id,
                                                         std::vector<float>* storage) const {
  const auto found = diagonals_.find(id);
  if (found == diagonals_.end()) return std::span<const float>();
  if (const auto* held = std::get_if<std::vector<float>>(&found->second)) {
    return std::span<const float>(*held);
  }
  const Spilled& spilled = std::get<Spilled>(found->second);
  storage->resize(spilled.size);
  BB_RETURN_IF_ERROR(
      spill_.Read(spilled.offset,
                  {reinterpret_cast<uint8_t*>(storage->data()), storage->size() * sizeof(float)}));
  return std::span<const float>(*storage);
}

}  // namespace bitbudget
