#include "tools/out_of_memory.h"

#include <execinfo.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>

#include "absl/strings/string_view.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

std::terminate_handler previous_handler = nullptr;

[[noreturn]] void HandleTerminate() {
  if (std::current_exception() != nullptr) {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      EndOutOfMemory();
    } catch (...) {
    }
  }
  previous_handler();
  std::abort();
}

}  // namespace

void EndOutOfMemory() {
  static std::atomic<bool> ends = false;
  while (ends.exchange(true)) pause();  // another thread does it
  // Printing by the library may take memory.
  constexpr absl::string_view kLine = "\nbitbudget: out of memory\n";
  const size_t skipped = isatty(STDERR_FILENO) != 0 ? 0 : 1;  // below a bar, on a line of its own
  [[maybe_unused]] const ssize_t ignored =
      write(STDERR_FILENO, kLine.data() + skipped, kLine.size() - skipped);
  _exit(kExitBadInput);
}

void InstallOutOfMemoryHandler() {
  std::set_new_handler(EndOutOfMemory);
  previous_handler = std::set_terminate(HandleTerminate);
  // Loads what exceptions need on their way through the C library, for which memory may lack then.
  void* frame = nullptr;
  backtrace(&frame, 1);
}

}  // namespace bitbudget
