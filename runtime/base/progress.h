#ifndef BITBUDGET_RUNTIME_BASE_PROGRESS_H_
#define BITBUDGET_RUNTIME_BASE_PROGRESS_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace bitbudget {

// Progress of long work and requests to stop it. Libraries never print; the tool implements this as
// a bar or as plain lines. Calls come from one thread at a time. The base class shows nothing and
// never interrupts.
class Progress {
 public:
  virtual ~Progress() = default;

  // A phase begins; `total` is its number of steps, 0 when unknown.
  virtual void Begin(absl::string_view /*phase*/, int64_t /*total*/) {}

  // `done` steps of the current phase are finished. `note` is a short state, e.g. "KL 0.0123".
  virtual void Update(int64_t /*done*/, absl::string_view /*note*/ = {}) {}

  virtual void End() {}

  // A line that stays visible, e.g. an estimate. Called between phases.
  virtual void Message(absl::string_view /*line*/) {}

  // True once the user asked to stop. Long work asks at least once per evaluation, stops as soon as
  // it cleanly can and returns its best result so far. Safe to call from any thread.
  virtual bool Interrupted() const { return false; }
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_PROGRESS_H_
