#ifndef BITBUDGET_TOOLS_PROGRESS_BAR_H_
#define BITBUDGET_TOOLS_PROGRESS_BAR_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"

namespace bitbudget {

// Shows progress to people. On a terminal one line is redrawn: phase, bar, steps, rate, elapsed and
// remaining time, note; it is cut to the terminal's width and cleared when the phase ends.
// Elsewhere (logs, pipes) a phase writes plain lines: at its start, at its end and in between at
// most every 10 seconds. Where the phases belong to a job of known work (Overall), the line on a
// terminal is that of the job, from its first moment to its end: stage, bar, per cent, passes,
// elapsed and remaining time, and then the phase; plain lines end in how far the job is. Not
// thread-safe but for Interrupted().
class ProgressBar : public Progress {
 public:
  struct Options {
    std::ostream* out = nullptr;        // not owned; null shows nothing
    bool terminal = false;              // redraw one line instead of writing lines
    std::function<int()> width;         // columns of the terminal; 80 when empty or not positive
    std::function<double()> now_s;      // a steady clock, in seconds; REQUIRED with `out`
    std::function<bool()> interrupted;  // false when empty
    // Shows the time go by on a thread of its own, so that a step that takes minutes does not look
    // as if the program had stopped.
    bool ticks = false;
  };
  explicit ProgressBar(Options options);

  // Writes to stderr, as a bar when that is a terminal, and is interrupted by InterruptGuard.
  static Options ForStderr();

  ~ProgressBar() override;
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Begin(absl::string_view phase, int64_t total) override;
  void Update(int64_t done, absl::string_view note) override;
  void Within(double steps) override;
  void End() override;
  void Overall(const OverallProgress* job) override;
  void Message(absl::string_view line) override;
  bool Interrupted() const override { return options_.interrupted && options_.interrupted(); }

 private:
  struct Job {
    OverallProgress now;
    std::string name;  // of now.name
    double begin_s = 0;
    double told_s = 0;  // when `now` was
  };

  // The same with mutex_ held.
  void EndPhase();
  void Advance(int64_t done, std::optional<absl::string_view> note);
  void Refresh(double now);  // where enough time has passed since what is shown
  void Tick();               // until stop_

  // Steps per second over the recent window; 0 while unknown.
  double Rate(double now) const;
  std::string State(double now) const;  // "12/40  3.1/s  0:04 elapsed, 0:09 left  KL 0.01"
  std::string JobLeft(double now) const;
  // What a terminal shows. One that is not `wide` gets no bar and no passes, so that the time that
  // is left fits.
  std::string Line(double now, bool wide) const;
  std::string JobLine(double now, bool wide) const;
  std::string WithJob(std::string line, double now) const;
  void Redraw(double now);
  void WriteLine(const std::string& text);

  Options options_;
  std::mutex mutex_;  // of everything below
  bool active_ = false;
  std::string phase_;
  std::string note_;
  int64_t total_ = 0;
  int64_t done_ = 0;
  double within_ = 0;  // steps beyond done_
  double begin_s_ = 0;
  double shown_s_ = 0;
  std::deque<std::pair<double, int64_t>> recent_;  // (time, done), oldest first
  std::optional<Job> job_;
  bool stop_ = false;
  std::condition_variable stopping_;
  std::thread ticker_;
};

// "0:07", "12:05", "3:00:09"; negative and absurd durations as "?".
std::string FormatDuration(double seconds);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PROGRESS_BAR_H_
