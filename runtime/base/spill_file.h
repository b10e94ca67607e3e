#ifndef BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_
#define BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace bitbudget {

// Bytes put aside on disk, in a file without a name: it is gone with the process, however that
// ends. What was read or written lately stays in the kernel's page cache for as long as memory is
// free, so coming back is cheap then. The file is made by the first Append.
class SpillFile {
 public:
  // In this existing directory.
  explicit SpillFile(std::string directory) : directory_(std::move(directory)) {}
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile();

  // Writes `bytes` at the end and returns their offset. Errors name the directory and the size
  // (a full disk: kResourceExhausted); what was written before is intact then.
  absl::StatusOr<int64_t> Append(std::span<const uint8_t> bytes);

  // Reads back what was written at `offset`. Safe to call from many threads.
  absl::Status Read(int64_t offset, std::span<uint8_t> out) const;

  int64_t size() const { return size_; }

 private:
  std::string directory_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_SPILL_FILE_H_
