#include "runtime/base/spill_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace bitbudget {

SpillFile::~SpillFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<int64_t> SpillFile::Append(std::span<const uint8_t> bytes) {
  const auto error = [&](const char* what) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat(directory_,
                                            ": cannot ",
                                            what,
                                            " for ",
                                            size_ + static_cast<int64_t>(bytes.size()),
                                            " bytes of encodings that do not fit in memory; use a "
                                            "directory with room for them, or more memory"));
  };
  if (fd_ < 0) {
    fd_ = open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ < 0) {  // a file system that cannot do without a name
      std::string name = directory_ + "/bitbudget-spill-XXXXXX";
      fd_ = mkostemp(name.data(), O_CLOEXEC);
      if (fd_ >= 0) unlink(name.c_str());
    }
    if (fd_ < 0) return error("make a temporary file");
  }
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote =
        pwrite(fd_, bytes.data() + done, bytes.size() - done, size_ + static_cast<int64_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return error("write a temporary file");
    done += static_cast<size_t>(wrote);
  }
  const int64_t offset = size_;
  size_ += static_cast<int64_t>(bytes.size());
  return offset;
}

absl::Status SpillFile::Read(int64_t offset, std::span<uint8_t> out) const {
  for (size_t done = 0; done < out.size();) {
    const ssize_t got =
        pread(fd_, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return absl::ErrnoToStatus(
          got < 0 ? errno : EIO,
          absl::StrCat(
              directory_, ": cannot read back ", out.size(), " bytes of a temporary file"));
    }
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
