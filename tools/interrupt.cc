#include "tools/interrupt.h"

#include <glog/logging.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace bitbudget {
namespace {

constexpr int kInterruptedExit = 130;  // what shells report for a process that Ctrl-C ended

// Lock-free, so that a signal handler may touch them.
std::atomic<bool> interrupted = false;
std::atomic<bool> asked = false;
std::atomic<bool> guarded = false;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<size_t>::is_always_lock_free);

constexpr size_t kMaxMessage = 1000;
char message[kMaxMessage] = "stopping at the next safe point; interrupt again to end at once";
std::atomic<size_t> message_size = std::strlen(message);

// Only async-signal-safe calls from here on.
void HandleSignal(int) {
  if (!asked) {
    constexpr char kEnded[] = "bitbudget: interrupted\n";
    [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, kEnded, sizeof(kEnded) - 1);
    _exit(kInterruptedExit);
  }
  if (interrupted.exchange(true)) _exit(kInterruptedExit);
  const size_t size = message_size;
  if (size == 0) return;
  iovec parts[] = {{const_cast<char*>("\n"), 1}, {message, size}, {const_cast<char*>("\n"), 1}};
  [[maybe_unused]] const ssize_t ignored = writev(STDERR_FILENO, parts, 3);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  CHECK(!guarded.exchange(true)) << "one InterruptGuard at a time";
  interrupted = false;
  asked = false;
  struct sigaction action = {};
  action.sa_handler = HandleSignal;
  sigemptyset(&action.sa_mask);
  // Reads and writes go on; the work asks for the flag itself.
  action.sa_flags = SA_RESTART;
  PCHECK(sigaction(SIGINT, &action, &previous_int_) == 0);
  PCHECK(sigaction(SIGTERM, &action, &previous_term_) == 0);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
  guarded = false;
}

bool InterruptGuard::Interrupted() {
  // Many threads ask, and only the first one has something to write.
  if (!asked.load(std::memory_order_relaxed)) asked = true;
  return interrupted;
}

void InterruptGuard::SetMessage(absl::string_view text) {
  message_size = 0;
  const size_t size = std::min(text.size(), kMaxMessage);
  std::memcpy(message, text.data(), size);
  message_size = size;
}

}  // namespace bitbudget
