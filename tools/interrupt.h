#ifndef BITBUDGET_TOOLS_INTERRUPT_H_
#define BITBUDGET_TOOLS_INTERRUPT_H_

#include <csignal>

#include "absl/strings/string_view.h"

namespace bitbudget {

// While one lives, SIGINT (Ctrl-C) and SIGTERM end the process at once with status 130, until
// something asks for Interrupted(). From then on the first signal sets that flag, so that long work
// can stop cleanly and keep the best it has, and the second one ends the process. So what never
// asks, reading a model or cutting a text into tokens, cannot hold a signal up. The destructor puts
// the previous handlers back. At most one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Whether a signal came to the current guard, or to the last one that there was. Any thread may
  // ask; who asks once goes on asking, or ends soon.
  static bool Interrupted();

  // What the signal that sets the flag writes to standard error: at most 1000 bytes; empty:
  // nothing, for processes beside one that writes it. A signal during the call writes nothing.
  static void SetMessage(absl::string_view message);

 private:
  struct sigaction previous_int_;
  struct sigaction previous_term_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_INTERRUPT_H_
