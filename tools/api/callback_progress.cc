#include "tools/api/callback_progress.h"

#include <string>

#include "absl/time/clock.h"

namespace bitbudget::api {

void CallbackProgress::Begin(absl::string_view phase, int64_t total) {
  now_.phase = std::string(phase);
  now_.done = 0;
  now_.total = total;
  now_.note.clear();
  next_ = absl::InfinitePast();  // a phase is never passed over
  Report();
}

void CallbackProgress::Update(int64_t done, absl::string_view note) {
  now_.done = done;
  now_.note = std::string(note);
  Report();
}

void CallbackProgress::Within(double /*steps*/) { Report(); }

void CallbackProgress::Overall(const OverallProgress* job) {
  if (job == nullptr) {
    now_.share.reset();
    now_.seconds_left.reset();
    return;
  }
  now_.share = job->share;
  now_.seconds_left = job->seconds_left;
}

void CallbackProgress::Report() {
  constexpr absl::Duration kBetween = absl::Milliseconds(100);
  if (!callback_ || stopped_) return;
  const absl::Time time = absl::Now();
  if (time < next_) return;
  next_ = time + kBetween;
  if (!callback_(now_)) stopped_ = true;
}

}  // namespace bitbudget::api
