#ifndef BITBUDGET_RUNTIME_BASE_MAPPED_FILE_H_
#define BITBUDGET_RUNTIME_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace bitbudget {

// A read-only memory mapping of a whole file. Move-only; the bytes live as long as the object.
class MappedFile {
 public:
  // Errors (with the path in the message): kNotFound, kPermissionDenied, kInvalidArgument (not a
  // regular file), kInternal. An empty file maps to an empty span.
  // The path of the file that is mapped where `address` is; null: none. Async-signal-safe.
  static const char* PathAt(const void* address);

  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Takes the whole pages of `part`, which lies in bytes(), out of this process's memory. They are
  // read again when they are next looked at; safe while other threads read them.
  void ReleasePages(std::span<const std::byte> part) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A whole (small) file as a string. Errors: those of MappedFile::Open.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_MAPPED_FILE_H_
