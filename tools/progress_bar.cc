#include "tools/progress_bar.h"

#include <glog/logging.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/interrupt.h"

namespace bitbudget {
namespace {

// Redrawing more often only makes the terminal work.
constexpr double kRedrawEvery_s = 0.1;
constexpr double kLineEvery_s = 10;
// The rate is that of the last half minute: steps get slower or faster as a search goes on. The
// window is sampled at most twice a second, which bounds its memory.
constexpr double kWindow_s = 30;
constexpr double kSampleEvery_s = 0.5;
constexpr int kBarCells = 24;
constexpr int kDefaultWidth = 80;
// Back to the first column and clear to the end of the line.
constexpr char kClearLine[] = "\r\x1b[K";

std::string Bar(int64_t done, int64_t total) {
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarCells);
  return absl::StrCat("[",
                      std::string(static_cast<size_t>(full), '#'),
                      std::string(static_cast<size_t>(kBarCells - full), '.'),
                      "]");
}

int StderrWidth() {
  winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A terminal that says it cannot move its cursor gets plain lines.
bool StderrIsTerminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && absl::string_view(term) != "dumb";
}

}  // namespace

std::string FormatDuration(double seconds) {
  constexpr double kLongest_s = 1000 * 3600.0;
  if (!(seconds >= 0 && seconds < kLongest_s)) return "?";
  const int s = static_cast<int>(std::lround(seconds));
  if (s < 3600) return absl::StrFormat("%d:%02d", s / 60, s % 60);
  return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

ProgressBar::Options ProgressBar::ForStderr() {
  Options options;
  options.out = &std::cerr;
  options.terminal = StderrIsTerminal();
  options.width = StderrWidth;
  options.now_s = SteadySeconds;
  options.interrupted = InterruptGuard::Interrupted;
  return options;
}

ProgressBar::ProgressBar(Options options) : options_(std::move(options)) {
  CHECK(options_.out == nullptr || options_.now_s) << "a bar needs a clock";
}

void ProgressBar::Begin(absl::string_view phase, int64_t total) {
  End();
  if (options_.out == nullptr) return;
  active_ = true;
  phase_ = std::string(phase);
  note_.clear();
  total_ = total;
  done_ = 0;
  begin_s_ = shown_s_ = options_.now_s();
  recent_.assign(1, {begin_s_, 0});
  if (options_.terminal) {
    Redraw(begin_s_);
  } else {
    WriteLine(total > 0 ? absl::StrCat(phase_, ": ", total, " steps") : phase_);
  }
}

void ProgressBar::Update(int64_t done, absl::string_view note) {
  if (!active_) return;
  done_ = done;
  note_ = std::string(note);
  const double now = options_.now_s();
  if (now - recent_.back().first >= kSampleEvery_s) recent_.emplace_back(now, done);
  // One sample from before the window stays, so that slow steps have a rate too.
  while (recent_.size() > 2 && now - recent_[1].first >= kWindow_s) recent_.pop_front();
  if (now - shown_s_ < (options_.terminal ? kRedrawEvery_s : kLineEvery_s)) return;
  shown_s_ = now;
  if (options_.terminal) {
    Redraw(now);
  } else {
    WriteLine(absl::StrCat(phase_, ": ", State(now)));
  }
}

void ProgressBar::End() {
  if (!active_) return;
  active_ = false;
  if (options_.terminal) {
    *options_.out << kClearLine << std::flush;
    return;
  }
  WriteLine(
      absl::StrCat(phase_, ": ", done_, " steps in ", FormatDuration(options_.now_s() - begin_s_)));
}

void ProgressBar::Message(absl::string_view line) {
  if (options_.out == nullptr) return;
  End();
  WriteLine(std::string(line));
}

double ProgressBar::Rate(double now) const {
  const auto [since, done_then] = recent_.front();
  if (now - since < kSampleEvery_s || done_ <= done_then) return 0;
  return static_cast<double>(done_ - done_then) / (now - since);
}

std::string ProgressBar::State(double now) const {
  std::string text = absl::StrCat(done_);
  if (total_ > 0) absl::StrAppend(&text, "/", total_);
  const double rate = Rate(now);
  if (rate > 0) {
    absl::StrAppend(
        &text,
        "  ",
        rate >= 1 ? absl::StrFormat("%.1f/s", rate) : absl::StrFormat("%.1f s each", 1 / rate));
  }
  absl::StrAppend(&text, "  ", FormatDuration(now - begin_s_), " elapsed");
  if (rate > 0 && total_ > done_) {
    absl::StrAppend(
        &text, ", ", FormatDuration(static_cast<double>(total_ - done_) / rate), " left");
  }
  if (!note_.empty()) absl::StrAppend(&text, "  ", note_);
  return text;
}

void ProgressBar::Redraw(double now) {
  std::string line = phase_;
  if (total_ > 0) absl::StrAppend(&line, "  ", Bar(done_, total_));
  absl::StrAppend(&line, "  ", State(now));
  int width = options_.width ? options_.width() : kDefaultWidth;
  if (width <= 0) width = kDefaultWidth;
  // The last column stays free: some terminals wrap when it is written.
  line.resize(std::min(line.size(), static_cast<size_t>(width - 1)));
  *options_.out << kClearLine << line << std::flush;
}

void ProgressBar::WriteLine(const std::string& text) {
  *options_.out << text << "\n" << std::flush;
}

}  // namespace bitbudget
