#include "runtime/base/temporary.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = ".tmp.";

// Whether a name is a temporary one of the file with this name.
bool IsTemporaryOf(absl::string_view name, absl::string_view file) {
  const std::string prefix = absl::StrCat(file, kMark);
  if (!absl::StartsWith(name, prefix)) return false;
  const std::vector<absl::string_view> numbers = absl::StrSplit(name.substr(prefix.size()), '.');
  return numbers.size() == 2 &&
         std::all_of(numbers.begin(), numbers.end(), [](absl::string_view number) {
           return !number.empty() &&
                  number.find_first_not_of("0123456789") == absl::string_view::npos;
         });
}

}  // namespace

std::string TemporaryName(const std::string& path, int attempt) {
  return absl::StrCat(path, kMark, getpid(), ".", attempt);
}

bool LockTemporary(int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat status = {};
  return fstat(fd, &status) != 0 || status.st_nlink > 0;
}

void RemoveLeftOvers(const std::string& path) {
  const fs::path file(path);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (IsTemporaryOf(at->path().filename().string(), file.filename().string())) {
      found.push_back(at->path());
    }
  }
  for (const fs::path& temporary : found) {
    const int fd = open(temporary.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) fs::remove_all(temporary, error);
    close(fd);
  }
}

void SyncFolderOf(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace bitbudget
