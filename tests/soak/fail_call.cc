// Preloaded into a program (LD_PRELOAD), makes one of its calls fail, so that what it does then can
// be seen (inject.py). From the environment:
//
//   BITBUDGET_FAIL=KIND:N        the N-th call of the kind fails, from 1 on
//   BITBUDGET_FAIL=KIND:N+       and all later ones
//   BITBUDGET_FAIL_COUNTS=FILE   "KIND CALLS" lines are written there when the program ends
//
// Only what main() calls counts. Writes to the standard streams do not.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

enum Kind {
  kWrite,
  kShort,
  kSync,
  kRename,
  kOpen,
  kTruncate,
  kRead,
  kMap,
  kAllocate,
  kAllocateLarge,
  kThread,
  kRemove,
  kMakeFolder,
  kKinds
};
constexpr const char* kNames[kKinds] = {"write",
                                        "short",
                                        "sync",
                                        "rename",
                                        "open",
                                        "truncate",
                                        "read",
                                        "map",
                                        "allocate",
                                        "allocate-large",
                                        "thread",
                                        "remove",
                                        "make-folder"};
constexpr int kErrors[kKinds] = {
    ENOSPC, 0, EIO, EACCES, EACCES, ENOSPC, EIO, ENOMEM, ENOMEM, ENOMEM, EAGAIN, EACCES, ENOSPC};
constexpr size_t kLarge = 32 << 10;

std::atomic<bool> active = false;
std::atomic<long> calls[kKinds];
int failing = -1;
long from = 0;
bool and_later = false;
const char* counts_file = nullptr;

// Counts a call; whether it must fail, which sets errno.
bool Fails(Kind kind) {
  if (!active) return false;
  const long n = ++calls[kind];
  if (kind != failing || n < from || (n > from && !and_later)) return false;
  errno = kErrors[kind];
  return true;
}

template <typename Function>
Function Next(Function, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static const auto next = Next(&name, #name)

void ReadEnvironment() {
  counts_file = getenv("BITBUDGET_FAIL_COUNTS");
  const char* fail = getenv("BITBUDGET_FAIL");
  const char* colon = fail != nullptr ? strchr(fail, ':') : nullptr;
  if (colon == nullptr) return;
  for (int kind = 0; kind < kKinds; ++kind) {
    const size_t size = strlen(kNames[kind]);
    if (size == static_cast<size_t>(colon - fail) && strncmp(fail, kNames[kind], size) == 0) {
      failing = kind;
    }
  }
  char* end = nullptr;
  from = strtol(colon + 1, &end, 10);
  and_later = *end == '+';
}

int (*real_main)(int, char**, char**) = nullptr;

int CountedMain(int argc, char** argv, char** environment) {
  ReadEnvironment();
  active = true;
  return real_main(argc, argv, environment);
}

__attribute__((destructor)) void WriteCounts() {
  active = false;
  if (counts_file == nullptr) return;
  FILE* file = fopen(counts_file, "w");
  if (file == nullptr) return;
  for (int kind = 0; kind < kKinds; ++kind) {
    fprintf(file, "%s %ld\n", kNames[kind], calls[kind].load());
  }
  fclose(file);
}

bool Writes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0; }

bool FailsWrite(int fd) { return fd > STDERR_FILENO && Fails(kWrite); }
// How much of a write is done.
size_t Some(int fd, size_t size) {
  return fd > STDERR_FILENO && size > 1 && Fails(kShort) ? size / 2 : size;
}

bool FailsAllocation(size_t size) {
  const bool large = size >= kLarge && Fails(kAllocateLarge);
  return Fails(kAllocate) || large;
}

}  // namespace

extern "C" {

int __libc_start_main(int (*main)(int, char**, char**),
                      int argc,
                      char** argv,
                      int (*init)(int, char**, char**),
                      void (*finish)(),
                      void (*linker_finish)(),
                      void* stack_end) {
  NEXT(__libc_start_main);
  real_main = main;
  return next(CountedMain, argc, argv, init, finish, linker_finish, stack_end);
}

ssize_t write(int fd, const void* data, size_t size) {
  NEXT(write);
  return FailsWrite(fd) ? -1 : next(fd, data, Some(fd, size));
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  return FailsWrite(fd) ? -1 : next(fd, data, Some(fd, size), offset);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  NEXT(pwrite64);
  return FailsWrite(fd) ? -1 : next(fd, data, Some(fd, size), offset);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  return FailsWrite(fd) ? -1 : next(fd, parts, count);
}
ssize_t sendfile(int out, int in, off_t* offset, size_t size) noexcept {
  NEXT(sendfile);
  return FailsWrite(out) ? -1 : next(out, in, offset, size);
}
ssize_t copy_file_range(
    int in, off64_t* in_offset, int out, off64_t* out_offset, size_t size, unsigned flags) {
  NEXT(copy_file_range);
  return FailsWrite(out) ? -1 : next(in, in_offset, out, out_offset, size, flags);
}

ssize_t read(int fd, void* data, size_t size) {
  NEXT(read);
  return Fails(kRead) ? -1 : next(fd, data, size);
}
ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  NEXT(pread);
  return Fails(kRead) ? -1 : next(fd, data, size, offset);
}
ssize_t pread64(int fd, void* data, size_t size, off64_t offset) {
  NEXT(pread64);
  return Fails(kRead) ? -1 : next(fd, data, size, offset);
}

int fsync(int fd) {
  NEXT(fsync);
  return Fails(kSync) ? -1 : next(fd);
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  return Fails(kSync) ? -1 : next(fd);
}

int rename(const char* from_path, const char* to_path) noexcept {
  NEXT(rename);
  return Fails(kRename) ? -1 : next(from_path, to_path);
}
int renameat(int from_folder, const char* from_path, int to_folder, const char* to_path) noexcept {
  NEXT(renameat);
  return Fails(kRename) ? -1 : next(from_folder, from_path, to_folder, to_path);
}
int linkat(int from_folder,
           const char* from_path,
           int to_folder,
           const char* to_path,
           int flags) noexcept {
  NEXT(linkat);
  return Fails(kRename) ? -1 : next(from_folder, from_path, to_folder, to_path, flags);
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(open);
  return Writes(flags) && Fails(kOpen) ? -1 : next(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(open64);
  return Writes(flags) && Fails(kOpen) ? -1 : next(path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  NEXT(openat);
  return Writes(flags) && Fails(kOpen) ? -1 : next(folder, path, flags, mode);
}
int mkostemp(char* name, int flags) {
  NEXT(mkostemp);
  return Fails(kOpen) ? -1 : next(name, flags);
}
int mkstemp(char* name) {
  NEXT(mkstemp);
  return Fails(kOpen) ? -1 : next(name);
}
FILE* fopen(const char* path, const char* mode) {
  NEXT(fopen);
  return strpbrk(mode, "wa+") != nullptr && Fails(kOpen) ? nullptr : next(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  NEXT(fopen64);
  return strpbrk(mode, "wa+") != nullptr && Fails(kOpen) ? nullptr : next(path, mode);
}

int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  return Fails(kTruncate) ? -1 : next(fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  NEXT(ftruncate64);
  return Fails(kTruncate) ? -1 : next(fd, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  NEXT(posix_fallocate);
  return Fails(kTruncate) ? errno : next(fd, offset, size);
}

int unlink(const char* path) noexcept {
  NEXT(unlink);
  return Fails(kRemove) ? -1 : next(path);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  return Fails(kRemove) ? -1 : next(folder, path, flags);
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  return Fails(kMakeFolder) ? -1 : next(path, mode);
}

void* mmap(void* at, size_t size, int access, int flags, int fd, off_t offset) noexcept {
  NEXT(mmap);
  return Fails(kMap) ? MAP_FAILED : next(at, size, access, flags, fd, offset);
}
void* mmap64(void* at, size_t size, int access, int flags, int fd, off64_t offset) noexcept {
  NEXT(mmap64);
  return Fails(kMap) ? MAP_FAILED : next(at, size, access, flags, fd, offset);
}

void* malloc(size_t size) noexcept { return FailsAllocation(size) ? nullptr : __libc_malloc(size); }
void* calloc(size_t count, size_t size) noexcept {
  return FailsAllocation(count * size) ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* data, size_t size) noexcept {
  return FailsAllocation(size) ? nullptr : __libc_realloc(data, size);
}
void* memalign(size_t alignment, size_t size) noexcept {
  return FailsAllocation(size) ? nullptr : __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return FailsAllocation(size) ? nullptr : __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (FailsAllocation(size)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

int pthread_create(pthread_t* thread,
                   const pthread_attr_t* attributes,
                   void* (*function)(void*),
                   void* argument) noexcept {
  NEXT(pthread_create);
  return Fails(kThread) ? errno : next(thread, attributes, function, argument);
}

}  // extern "C"
