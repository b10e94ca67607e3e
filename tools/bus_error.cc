#include "tools/bus_error.h"

#include <glog/logging.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "runtime/base/mapped_file.h"

namespace bitbudget {
namespace {

constexpr int kBadInputExit = 3;  // kExitBadInput of tools/command.h

iovec Part(const char* text) { return {const_cast<char*>(text), std::strlen(text)}; }

// Only async-signal-safe calls.
void HandleBusError(int, siginfo_t* info, void*) {
  const char* path = MappedFile::PathAt(info->si_addr);
  const iovec parts[] = {
      Part(isatty(STDERR_FILENO) != 0 ? "\nbitbudget: " : "bitbudget: "),
      Part(path != nullptr ? path : "a file"),
      Part(": was cut short, or cannot be read any more, while it was in use\n")};
  [[maybe_unused]] const ssize_t ignored = writev(STDERR_FILENO, parts, 3);
  _exit(kBadInputExit);
}

}  // namespace

void InstallBusErrorHandler() {
  struct sigaction action = {};
  action.sa_sigaction = HandleBusError;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO;
  PCHECK(sigaction(SIGBUS, &action, nullptr) == 0);
}

}  // namespace bitbudget
