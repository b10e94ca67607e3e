#ifndef BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_
#define BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// A file that appears at its path whole or not at all: it is written under a temporary name beside
// it, which Commit() syncs and renames; without Commit() the destructor removes it, and the next
// Create() what a killed process left. A symbolic link is followed and stays. Move-only. Errors
// name the path.
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Write(absl::string_view contents);
  int64_t size() const { return size_; }  // bytes written so far
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd);

  std::string path_;
  std::string temporary_;
  int fd_;
  int64_t size_ = 0;
};

// Writes `contents` to a temporary file beside `path`, syncs it, and renames it to `path`. On any
// error (full disk, no permission) the old file at `path` is untouched and no temporary is left.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents);

// Whether WriteFileAtomically(path) could create its file, so that a long job fails before its
// work, not after it. Leaves nothing behind.
absl::Status CheckWritable(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_
