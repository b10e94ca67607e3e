// Preloaded into a program (LD_PRELOAD), puts another file in the place of one that the program
// renames into place, as if what it wrote had come out wrong. From the environment:
//
//   BITBUDGET_SWAP=SUFFIX=FILE   in place of what becomes *SUFFIX

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern "C" int rename(const char* from, const char* to) {
  using Rename = int (*)(const char*, const char*);
  static const Rename real = reinterpret_cast<Rename>(dlsym(RTLD_NEXT, "rename"));
  const char* swap = getenv("BITBUDGET_SWAP");
  const char* file = swap == nullptr ? nullptr : strchr(swap, '=');
  if (file == nullptr) return real(from, to);
  const size_t suffix = static_cast<size_t>(file - swap);
  const size_t length = strlen(to);
  if (length < suffix || strncmp(to + length - suffix, swap, suffix) != 0) return real(from, to);
  unlink(from);
  return real(file + 1, to);
}
