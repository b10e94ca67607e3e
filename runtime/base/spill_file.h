#ifndef BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_
#define BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace bitbudget {

// Bytes put aside on disk, in an unnamed file that ends with the process, however that ends. Recent
// bytes stay in the kernel's page cache while memory is free, so reading them back is cheap. The
// first Append() creates the file.
class SpillFile {
 public:
  // In this existing directory.
  explicit SpillFile(std::string directory) : directory_(std::move(directory)) {}
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile();

  // Writes `bytes` at the end and returns their offset. Errors name the directory and the size
  // (kResourceExhausted: a full disk) and leave earlier bytes intact.
  absl::StatusOr<int64_t> Append(std::span<const uint8_t> bytes);

  // Reads bytes that Append() wrote at `offset`. Safe to call from many threads.
  absl::Status Read(int64_t offset, std::span<uint8_t> out) const;

  int64_t size() const { return size_; }

 private:
  std::string directory_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_
