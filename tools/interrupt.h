#ifndef BITBUDGET_TOOLS_INTERRUPT_H_
#define BITBUDGET_TOOLS_INTERRUPT_H_

#include <csignal>

#include "absl/strings/string_view.h"

namespace bitbudget {

// While one lives, SIGINT (Ctrl-C) and SIGTERM set a flag that long work asks for, so that it can
// stop cleanly and keep the best it has; a second signal ends the process at once with status 130.
// The destructor puts the previous handlers back. At most one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Whether a signal came to the current guard, or to the last one that there was. Any thread may
  // ask.
  static bool Interrupted();

  // What the first signal writes to standard error: at most 1000 bytes; empty: nothing, for
  // processes beside one that writes it. A signal during the call writes nothing.
  static void SetMessage(absl::string_view message);

 private:
  struct sigaction previous_int_;
  struct sigaction previous_term_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_INTERRUPT_H_
