#ifndef BITBUDGET_TOOLS_PROGRESS_BAR_H_
#define BITBUDGET_TOOLS_PROGRESS_BAR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"

namespace bitbudget {

// Shows progress to people. On a terminal one line is redrawn: phase, bar, steps, rate, elapsed and
// remaining time, note; it is cut to the terminal's width and cleared when the phase ends.
// Elsewhere (logs, pipes) a phase writes plain lines: at its start, at its end and in between at
// most every 10 seconds. Not thread-safe but for Interrupted().
class ProgressBar : public Progress {
 public:
  struct Options {
    std::ostream* out = nullptr;        // not owned; null shows nothing
    bool terminal = false;              // redraw one line instead of writing lines
    std::function<int()> width;         // columns of the terminal; 80 when empty or not positive
    std::function<double()> now_s;      // a steady clock, in seconds; REQUIRED with `out`
    std::function<bool()> interrupted;  // false when empty
  };
  explicit ProgressBar(Options options);

  // Writes to stderr, as a bar when that is a terminal, and is interrupted by InterruptGuard.
  static Options ForStderr();

  ~ProgressBar() override { End(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Begin(absl::string_view phase, int64_t total) override;
  void Update(int64_t done, absl::string_view note) override;
  void End() override;
  void Message(absl::string_view line) override;
  bool Interrupted() const override { return options_.interrupted && options_.interrupted(); }

 private:
  // Steps per second over the recent window; 0 while unknown.
  double Rate(double now) const;
  std::string State(double now) const;  // "12/40  3.1/s  0:04 elapsed, 0:09 left  KL 0.01"
  void Redraw(double now);
  void WriteLine(const std::string& text);

  Options options_;
  bool active_ = false;
  std::string phase_;
  std::string note_;
  int64_t total_ = 0;
  int64_t done_ = 0;
  double begin_s_ = 0;
  double shown_s_ = 0;
  std::deque<std::pair<double, int64_t>> recent_;  // (time, done), oldest first
};

// "0:07", "12:05", "3:00:09"; negative and absurd durations as "?".
std::string FormatDuration(double seconds);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PROGRESS_BAR_H_
