#ifndef BITBUDGET_RUNTIME_BASE_PROGRESS_H_
#define BITBUDGET_RUNTIME_BASE_PROGRESS_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace bitbudget {

// How far a job is whose phases make up stages of known work.
struct OverallProgress {
  int stage = 0;  // that is running, of `stages`, from 1
  int stages = 0;
  absl::string_view name;  // of the stage
  double share = 0;        // of the work that is done, 0 to 1; it never falls during a job
  double passes = 0;       // that work, in passes of the search probes through the model
  double total_passes = 0;
  double seconds_left = 0;
};

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

  // `steps` more than Update() said are done, a fraction of what the running step is part of.
  virtual void Within(double /*steps*/) {}

  virtual void End() {}

  // How far the job is that the phases belong to; null: it has ended. Called before the phase's
  // own calls.
  virtual void Overall(const OverallProgress* /*job*/) {}

  // A line that stays visible, e.g. an estimate. Called between phases.
  virtual void Message(absl::string_view /*line*/) {}

  // True once the user asked to stop. Long work asks at least once per evaluation, stops as soon as
  // it cleanly can and returns its best result so far. Safe to call from any thread.
  virtual bool Interrupted() const { return false; }
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_PROGRESS_H_
