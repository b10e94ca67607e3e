#include "runtime/base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/temporary.h"

namespace bitbudget {
namespace {

// Where a path leads through symbolic links, also to nothing yet: a link stays, and what it leads
// to is replaced.
absl::StatusOr<std::string> FollowLinks(const std::string& path) {
  constexpr int kMostLinks = 40;  // as Linux follows
  std::filesystem::path at = path;
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(at, error); ++links) {
    const std::filesystem::path target = std::filesystem::read_symlink(at, error);
    if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
    if (links == kMostLinks) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": too many symbolic links"));
    }
    at = at.parent_path() / target;  // an absolute target replaces the folder
  }
  return at.string();
}

}  // namespace

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& name) {
  BB_RETURN_IF_ERROR(CheckRegularOrAbsent(name));
  BB_ASSIGN_OR_RETURN(const std::string path, FollowLinks(name));
  RemoveLeftOvers(path);
  // A name may be taken, by another file of this process or by one of another machine.
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string temporary = TemporaryName(path, attempt);
    const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
    if (fd < 0) continue;
    if (LockTemporary(fd)) return AtomicFile(path, std::move(temporary), fd);
    close(fd);
  }
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot create"));
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::Status AtomicFile::Write(absl::string_view contents) {
  while (!contents.empty()) {
    const ssize_t written = write(fd_, contents.data(), contents.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot write"));
    }
    contents.remove_prefix(static_cast<size_t>(written));
    size_ += written;
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (fsync(fd_) != 0) return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot sync"));
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot rename into place"));
  }
  close(std::exchange(fd_, -1));
  SyncFolderOf(path_);
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents) {
  BB_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  BB_RETURN_IF_ERROR(file.Write(contents));
  return file.Commit();
}

absl::Status CheckWritable(const std::string& path) { return AtomicFile::Create(path).status(); }

}  // namespace bitbudget
