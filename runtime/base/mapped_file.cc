#include "runtime/base/mapped_file.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Which file is mapped where, readable from a signal handler.
struct Mapping {
  std::atomic<const std::byte*> data = nullptr;  // null: free
  size_t size = 0;
  char path[256] = "";  // longer ones are cut
};
std::array<Mapping, 1024> mappings;  // files beyond that are not found
std::mutex mappings_mutex;

void Register(const std::string& path, const std::byte* data, size_t size) {
  const std::lock_guard lock(mappings_mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.data != nullptr) continue;
    mapping.size = size;
    const size_t length = std::min(path.size(), sizeof(mapping.path) - 1);
    std::memcpy(mapping.path, path.data(), length);
    mapping.path[length] = '\0';
    mapping.data = data;
    return;
  }
}

void Unregister(const std::byte* data) {
  const std::lock_guard lock(mappings_mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.data == data) mapping.data = nullptr;
  }
}

}  // namespace

const char* MappedFile::PathAt(const void* address) {
  for (const Mapping& mapping : mappings) {
    const std::byte* data = mapping.data;
    if (data != nullptr && address >= data && address < data + mapping.size) return mapping.path;
  }
  return nullptr;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  struct stat info;
  if (fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot stat"));
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot map ", size, " bytes"));
    }
    data = static_cast<const std::byte*>(mapped);
    Register(path, data, size);
  }
  close(fd);
  return MappedFile(path, data, size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  Unregister(data_);
  munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::ReleasePages(std::span<const std::byte> part) const {
  CHECK(part.data() >= data_ && part.data() + part.size() <= data_ + size_) << path_;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  // Advice: where it is not taken, only memory is lost.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  BB_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

}  // namespace bitbudget
