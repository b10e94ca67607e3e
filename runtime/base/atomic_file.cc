#include "runtime/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Removes the temporary on every way out but success.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) {
    // A name may be taken by what a killed process left behind.
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = absl::StrCat(target, ".tmp.", getpid(), ".", attempt);
      fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      open_errno_ = errno;
      if (fd_ >= 0 || open_errno_ != EEXIST) return;
    }
  }
  ~TemporaryFile() {
    if (fd_ < 0) return;
    close(fd_);
    if (!renamed_) unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  absl::Status opened(const std::string& target) const {
    if (fd_ >= 0) return absl::OkStatus();
    return absl::ErrnoToStatus(open_errno_, absl::StrCat(target, ": cannot create"));
  }

  absl::Status Write(absl::string_view contents, const std::string& target) {
    while (!contents.empty()) {
      const ssize_t written = write(fd_, contents.data(), contents.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return absl::ErrnoToStatus(errno, absl::StrCat(target, ": cannot write"));
      }
      contents.remove_prefix(static_cast<size_t>(written));
    }
    if (fsync(fd_) != 0) return absl::ErrnoToStatus(errno, absl::StrCat(target, ": cannot sync"));
    return absl::OkStatus();
  }

  absl::Status RenameTo(const std::string& target) {
    if (rename(path_.c_str(), target.c_str()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat(target, ": cannot rename into place"));
    }
    renamed_ = true;
    // The rename itself survives a crash only once the folder is on disk. By now the new file is in
    // place, so a file system that cannot sync folders is no error.
    const std::string folder = std::filesystem::path(target).parent_path().string();
    const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
      fsync(fd);
      close(fd);
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  int fd_ = -1;
  int open_errno_ = 0;
  bool renamed_ = false;
};

absl::Status RefuseNonFile(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": exists and is not a regular file"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents) {
  BB_RETURN_IF_ERROR(RefuseNonFile(path));
  TemporaryFile file(path);
  BB_RETURN_IF_ERROR(file.opened(path));
  BB_RETURN_IF_ERROR(file.Write(contents, path));
  return file.RenameTo(path);
}

absl::Status CheckWritable(const std::string& path) {
  BB_RETURN_IF_ERROR(RefuseNonFile(path));
  return TemporaryFile(path).opened(path);
}

}  // namespace bitbudget
