#include "planner/runs/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr char kLockFile[] = "run.lock";
constexpr size_t kNameDigits = 16;

bool IsStoreName(const std::string& name) {
  return name.size() == kNameDigits &&
         std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isxdigit(c); });
}

// Whether it was created; false where it is already there.
absl::StatusOr<bool> MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) == 0) return true;
  if (errno == EEXIST) return false;
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot create the run directory"));
}

// A link is not followed: what it leads to would be written over.
absl::StatusOr<int> OpenLock(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  const int error = errno;
  struct stat status = {};
  if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
  if (fd >= 0) close(fd);
  if (fd < 0 && error != ELOOP) {
    return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot open"));
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file; remove it"));
}

// The folders named as stores are, whether there is a store in them or not.
std::vector<std::string> StoreFolders(const std::string& run_directory) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run_directory, error)) {
    if (IsStoreName(entry.path().filename().string())) folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

std::string StoreName(std::span<const IdentityField> identity) {
  Sha256 hash;
  hash.Update(absl::StrCat("run store ", kRunStoreVersion, "\n"));
  for (const IdentityField& field : identity) {
    for (const std::string* text : {&field.name, &field.value}) {
      hash.Update(absl::StrCat(text->size(), ":", *text, "\n"));
    }
  }
  return hash.Finish().substr(0, kNameDigits);
}

std::vector<std::string> ListStores(const std::string& run_directory) {
  std::vector<std::string> stores = StoreFolders(run_directory);
  std::error_code ignored;
  std::erase_if(stores, [&](const std::string& folder) {
    return !std::filesystem::exists(absl::StrCat(folder, "/", kRunStoreFile), ignored);
  });
  return stores;
}

bool HoldsOldStore(const std::string& run_directory) {
  std::error_code ignored;
  return std::filesystem::exists(absl::StrCat(run_directory, "/", kRunStoreFile), ignored);
}

std::vector<std::string> RunStoreFiles(const std::string& run_directory) {
  std::vector<std::string> files;
  for (const std::string& folder : StoreFolders(run_directory)) {
    files.push_back(absl::StrCat(folder, "/", kLockFile));
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      files.push_back(absl::StrCat(folder, "/", kRunStoreFile, suffix));
    }
  }
  return files;
}

absl::StatusOr<std::unique_ptr<StoreFolder>> StoreFolder::Lock(const std::string& run_directory,
                                                               const std::string& store_name) {
  std::unique_ptr<StoreFolder> folder(new StoreFolder());
  folder->run_directory_ = run_directory;
  folder->path_ = absl::StrCat(run_directory, "/", store_name);
  BB_ASSIGN_OR_RETURN(folder->made_run_directory_, MakeFolder(run_directory));
  BB_ASSIGN_OR_RETURN(folder->made_folder_, MakeFolder(folder->path_));
  const std::string path = absl::StrCat(folder->path_, "/", kLockFile);
  BB_ASSIGN_OR_RETURN(folder->lock_, OpenLock(path));
  if (flock(folder->lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot lock"));
    }
    char holder[32] = {};
    if (pread(folder->lock_, holder, sizeof(holder) - 1, 0) < 0) holder[0] = '\0';
    return absl::FailedPreconditionError(absl::StrCat(folder->path_,
                                                      ": locked by another process (",
                                                      absl::StripSuffix(holder, "\n"),
                                                      "); wait until it ends"));
  }
  // For the message above; nothing depends on it.
  const std::string holder = absl::StrCat(getpid(), "\n");
  if (ftruncate(folder->lock_, 0) == 0) {
    [[maybe_unused]] const ssize_t ignored = pwrite(folder->lock_, holder.data(), holder.size(), 0);
  }
  std::error_code ignored;
  folder->made_file_ = !std::filesystem::exists(folder->file(), ignored);
  return folder;
}

StoreFolder::~StoreFolder() {
  if (lock_ >= 0) close(lock_);  // and unlocks
}

std::string StoreFolder::file() const { return absl::StrCat(path_, "/", kRunStoreFile); }

void StoreFolder::Remove() {
  unlink(file().c_str());
  unlink(absl::StrCat(path_, "/", kLockFile).c_str());
  if (made_folder_) rmdir(path_.c_str());
  if (made_run_directory_) rmdir(run_directory_.c_str());
}

}  // namespace bitbudget
