#include "tools/progress_bar.h"

#include <glog/logging.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/interrupt.h"

namespace bitbudget {
namespace {

// Redrawing more often only makes the terminal work.
constexpr double kRedrawEvery_s = 0.1;
constexpr double kLineEvery_s = 10;
constexpr double kTickEvery_s = 0.5;
// The rate is that of the last half minute: steps get slower or faster as a search goes on. The
// window is sampled at most twice a second, which bounds its memory.
constexpr double kWindow_s = 30;
constexpr double kSampleEvery_s = 0.5;
constexpr int kBarCells = 24;
constexpr int kDefaultWidth = 80;
// Back to the first column and clear to the end of the line.
constexpr char kClearLine[] = "\r\x1b[K";

std::string Bar(double share) {
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
  options.ticks = true;
  return options;
}

ProgressBar::ProgressBar(Options options) : options_(std::move(options)) {
  CHECK(options_.out == nullptr || options_.now_s) << "a bar needs a clock";
}

ProgressBar::~ProgressBar() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    EndPhase();
    stop_ = true;
  }
  stopping_.notify_all();
  if (ticker_.joinable()) ticker_.join();
}

void ProgressBar::Begin(absl::string_view phase, int64_t total) {
  const std::lock_guard<std::mutex> lock(mutex_);
  EndPhase();
  // The work of a phase asks for signals. One that comes as soon as the phase shows is not early.
  Interrupted();
  if (options_.out == nullptr) return;
  active_ = true;
  phase_ = std::string(phase);
  note_.clear();
  total_ = total;
  done_ = 0;
  within_ = 0;
  begin_s_ = shown_s_ = options_.now_s();
  recent_.assign(1, {begin_s_, 0});
  if (options_.terminal) {
    Redraw(begin_s_);
  } else {
    WriteLine(WithJob(total > 0 ? absl::StrCat(phase_, ": ", total, " steps") : phase_, begin_s_));
  }
  if (options_.ticks && !ticker_.joinable()) {
    try {
      ticker_ = std::thread([this] { Tick(); });
    } catch (const std::system_error&) {  // no more threads: the bar moves with the work alone
    }
  }
}

void ProgressBar::Update(int64_t done, absl::string_view note) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!active_) return;
  done_ = done;
  within_ = 0;
  note_ = std::string(note);
  const double now = options_.now_s();
  if (now - recent_.back().first >= kSampleEvery_s) recent_.emplace_back(now, done);
  // One sample from before the window stays, so that slow steps have a rate too.
  while (recent_.size() > 2 && now - recent_[1].first >= kWindow_s) recent_.pop_front();
  Refresh(now);
}

void ProgressBar::Within(double steps) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!active_) return;
  within_ = steps;
  Refresh(options_.now_s());
}

void ProgressBar::End() {
  const std::lock_guard<std::mutex> lock(mutex_);
  EndPhase();
}

void ProgressBar::Overall(const OverallProgress* job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (options_.out == nullptr) return;
  if (job == nullptr) {
    if (job_.has_value() && options_.terminal) *options_.out << kClearLine << std::flush;
    job_.reset();
    return;
  }
  const double now = options_.now_s();
  const bool first = !job_.has_value();
  if (first) {
    job_ = Job();
    job_->begin_s = now;
  }
  job_->now = *job;
  job_->name = std::string(job->name);
  job_->told_s = now;
  if (!first) return;
  shown_s_ = now;
  if (options_.terminal) {
    Redraw(now);
  } else {
    WriteLine(absl::StrFormat(
        "%d stages, at most %.1f passes%s", job->stages, job->total_passes, JobLeft(now)));
  }
}

void ProgressBar::Message(absl::string_view line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (options_.out == nullptr) return;
  EndPhase();
  if (job_.has_value() && options_.terminal) *options_.out << kClearLine;
  WriteLine(std::string(line));
  if (job_.has_value() && options_.terminal) Redraw(options_.now_s());
}

void ProgressBar::EndPhase() {
  if (!active_) return;
  active_ = false;
  const double now = options_.now_s();
  if (!options_.terminal) {
    WriteLine(WithJob(
        absl::StrCat(phase_, ": ", done_, " steps in ", FormatDuration(now - begin_s_)), now));
  } else if (job_.has_value()) {
    Redraw(now);
  } else {
    *options_.out << kClearLine << std::flush;
  }
}

void ProgressBar::Refresh(double now) {
  if (now - shown_s_ < (options_.terminal ? kRedrawEvery_s : kLineEvery_s)) return;
  shown_s_ = now;
  if (options_.terminal) {
    Redraw(now);
  } else {
    WriteLine(WithJob(absl::StrCat(phase_, ": ", State(now)), now));
  }
}

void ProgressBar::Tick() {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::chrono::duration<double> interval(kTickEvery_s);
  while (!stopping_.wait_for(lock, interval, [this] { return stop_; })) {
    if (active_) Refresh(options_.now_s());
  }
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

std::string ProgressBar::JobLeft(double now) const {
  return absl::StrCat(", about ",
                      FormatDuration(std::max(0.0, job_->now.seconds_left - (now - job_->told_s))),
                      " left");
}

std::string ProgressBar::JobLine(double now, bool wide) const {
  std::string line = absl::StrFormat("%d/%d %s  ", job_->now.stage, job_->now.stages, job_->name);
  if (wide) absl::StrAppend(&line, Bar(job_->now.share), "  ");
  absl::StrAppendFormat(&line, "%.0f %%  ", std::floor(100 * job_->now.share));
  if (wide) {
    absl::StrAppendFormat(&line, "%.1f/%.1f passes  ", job_->now.passes, job_->now.total_passes);
  }
  absl::StrAppend(&line, FormatDuration(now - job_->begin_s), " elapsed", JobLeft(now));
  if (!active_) return line;
  absl::StrAppend(&line, "  ", phase_);
  if (total_ > 0) {
    const double done = static_cast<double>(done_) + within_;
    absl::StrAppendFormat(
        &line, " %.0f %%", std::floor(100 * std::min(1.0, done / static_cast<double>(total_))));
  }
  if (!note_.empty()) absl::StrAppend(&line, "  ", note_);
  return line;
}

std::string ProgressBar::WithJob(std::string line, double now) const {
  if (!job_.has_value()) return line;
  absl::StrAppendFormat(&line,
                        "; %s, stage %d of %d, all %.0f %%%s",
                        job_->name,
                        job_->now.stage,
                        job_->now.stages,
                        std::floor(100 * job_->now.share),
                        JobLeft(now));
  return line;
}

std::string ProgressBar::Line(double now, bool wide) const {
  if (job_.has_value()) return JobLine(now, wide);
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  return absl::StrCat(phase_, total_ > 0 && wide ? "  " + Bar(share) : "", "  ", State(now));
}

void ProgressBar::Redraw(double now) {
  int width = options_.width ? options_.width() : kDefaultWidth;
  if (width <= 0) width = kDefaultWidth;
  // The last column stays free: some terminals wrap when it is written.
  std::string line = Line(now, width >= kDefaultWidth);
  line.resize(std::min(line.size(), static_cast<size_t>(width - 1)));
  *options_.out << kClearLine << line << std::flush;
}

void ProgressBar::WriteLine(const std::string& text) {
  *options_.out << text << "\n" << std::flush;
}

}  // namespace bitbudget
