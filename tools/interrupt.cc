#include "tools/interrupt.h"

#include <glog/logging.h>
#include <unistd.h>

#include <atomic>

namespace bitbudget {
namespace {

constexpr int kInterruptedExit = 130;  // what shells report for a process that Ctrl-C ended

// Lock-free, so that a signal handler may touch them.
std::atomic<bool> interrupted = false;
std::atomic<bool> guarded = false;
std::atomic<bool> silent = false;
static_assert(std::atomic<bool>::is_always_lock_free);

// Only async-signal-safe calls from here on.
void HandleSignal(int) {
  if (interrupted.exchange(true)) _exit(kInterruptedExit);
  if (silent) return;
  constexpr char kMessage[] = "\nstopping at the next safe point; interrupt again to end at once\n";
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  CHECK(!guarded.exchange(true)) << "one InterruptGuard at a time";
  interrupted = false;
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

bool InterruptGuard::Interrupted() { return interrupted; }

void InterruptGuard::Silence() { silent = true; }

}  // namespace bitbudget
