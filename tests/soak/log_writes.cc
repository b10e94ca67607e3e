// Preloaded into a program (LD_PRELOAD), logs what it does to files, so that what a loss of power
// would have left of it can be rebuilt (power.py). To the file BITBUDGET_LOG, in the order of the
// calls, lines of words separated by NUL, and behind a write its bytes:
//
//   open FD FLAGS NEW PATH       NEW: 1 where there was nothing
//   write FD OFFSET SIZE         then SIZE bytes
//   truncate FD SIZE
//   sync FD
//   close FD
//   rename FROM TO, remove PATH, folder PATH
//
// Only calls that succeed. Calls of several threads are made one after the other.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <initializer_list>
#include <mutex>
#include <string>

namespace {

std::recursive_mutex mutex;

template <typename Function>
Function Next(Function, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
// Holds the mutex from the call to its line in the log.
#define NEXT(name)                             \
  static const auto next = Next(&name, #name); \
  const std::lock_guard<std::recursive_mutex> lock(mutex)

int LogFile() {
  static const int file = [] {
    const char* path = getenv("BITBUDGET_LOG");
    if (path == nullptr) return -1;
    const long fd =
        syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return fcntl(static_cast<int>(fd), F_DUPFD_CLOEXEC, 900);
  }();
  return file;
}

void Put(const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const long written = syscall(SYS_write, LogFile(), at, size);
    if (written <= 0) abort();
    at += written;
    size -= static_cast<size_t>(written);
  }
}

void Log(std::initializer_list<std::string> words) {
  if (LogFile() < 0) return;
  const int error = errno;
  std::string line;
  for (const std::string& word : words) line += word + '\0';
  line.back() = '\n';
  Put(line.data(), line.size());
  errno = error;
}

std::string Text(long long number) { return std::to_string(number); }

// The path of a name in an open folder.
std::string PathOf(int folder, const char* path) {
  if (path[0] == '/' || folder == AT_FDCWD) return path;
  char name[4096];
  const ssize_t size = readlink(("/proc/self/fd/" + Text(folder)).c_str(), name, sizeof(name));
  return size < 0 ? path : std::string(name, static_cast<size_t>(size)) + "/" + path;
}

bool Exists(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

int Opened(int fd, const std::string& path, int flags, bool existed) {
  if (fd >= 0) Log({"open", Text(fd), Text(flags), existed ? "0" : "1", path});
  return fd;
}

ssize_t Wrote(int fd, long long offset, const void* data, ssize_t size) {
  if (size <= 0 || fd <= STDERR_FILENO || LogFile() < 0) return size;
  Log({"write", Text(fd), Text(offset), Text(size)});
  Put(data, static_cast<size_t>(size));
  return size;
}

long long Position(int fd) { return lseek(fd, 0, SEEK_CUR); }

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  NEXT(write);
  const long long offset = fd > STDERR_FILENO ? Position(fd) : 0;
  return Wrote(fd, offset, data, next(fd, data, size));
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  return Wrote(fd, offset, data, next(fd, data, size, offset));
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  NEXT(pwrite64);
  return Wrote(fd, offset, data, next(fd, data, size, offset));
}
ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  long long offset = fd > STDERR_FILENO ? Position(fd) : 0;
  const ssize_t size = next(fd, parts, count);
  for (ssize_t left = size; left > 0; ++parts) {
    const ssize_t some =
        left < static_cast<ssize_t>(parts->iov_len) ? left : static_cast<ssize_t>(parts->iov_len);
    Wrote(fd, offset, parts->iov_base, some);
    offset += some;
    left -= some;
  }
  return size;
}

int fsync(int fd) {
  NEXT(fsync);
  const int result = next(fd);
  if (result == 0) Log({"sync", Text(fd)});
  return result;
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  const int result = next(fd);
  if (result == 0) Log({"sync", Text(fd)});
  return result;
}
int close(int fd) {
  NEXT(close);
  const int result = next(fd);
  if (result == 0) Log({"close", Text(fd)});
  return result;
}
int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  const int result = next(fd, size);
  if (result == 0) Log({"truncate", Text(fd), Text(size)});
  return result;
}
int ftruncate64(int fd, off64_t size) noexcept {
  NEXT(ftruncate64);
  const int result = next(fd, size);
  if (result == 0) Log({"truncate", Text(fd), Text(size)});
  return result;
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(open);
  const bool existed = Exists(path);
  return Opened(next(path, flags, mode), path, flags, existed);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(open64);
  const bool existed = Exists(path);
  return Opened(next(path, flags, mode), path, flags, existed);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(openat);
  const std::string whole = PathOf(folder, path);
  const bool existed = Exists(whole);
  return Opened(next(folder, path, flags, mode), whole, flags, existed);
}

int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  const int result = next(from, to);
  if (result == 0) Log({"rename", from, to});
  return result;
}
int unlink(const char* path) noexcept {
  NEXT(unlink);
  const int result = next(path);
  if (result == 0) Log({"remove", path});
  return result;
}
int rmdir(const char* path) noexcept {
  NEXT(rmdir);
  const int result = next(path);
  if (result == 0) Log({"remove", path});
  return result;
}
int remove(const char* path) noexcept {
  NEXT(remove);
  const int result = next(path);
  if (result == 0) Log({"remove", path});
  return result;
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  const std::string whole = PathOf(folder, path);
  const int result = next(folder, path, flags);
  if (result == 0) Log({"remove", whole});
  return result;
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  const int result = next(path, mode);
  if (result == 0) Log({"folder", path});
  return result;
}

}  // extern "C"
