#include "tools/progress_bar.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tools/interrupt.h"

namespace bitbudget {
namespace {

class ProgressBarTest : public testing::Test {
 protected:
  ProgressBar::Options Options(bool terminal) {
    ProgressBar::Options options;
    options.out = &out_;
    options.terminal = terminal;
    options.width = [this] { return width_; };
    options.now_s = [this] { return now_s_; };
    return options;
  }
  // What was written since the last call.
  std::string Written() {
    const std::string text = out_.str();
    out_.str("");
    return text;
  }

  std::ostringstream out_;
  double now_s_ = 1000;
  int width_ = 200;
};

TEST_F(ProgressBarTest, TerminalRedrawsOneLineAndClearsIt) {
  ProgressBar bar(Options(true));
  bar.Begin("search", 40);
  EXPECT_EQ(Written(), "\r\x1b[Ksearch  [........................]  0/40  0:00 elapsed");
  now_s_ += 5;
  bar.Update(10, "KL 0.0123");
  EXPECT_EQ(Written(),
            "\r\x1b[Ksearch  [######..................]  10/40  2.0/s  0:05 elapsed, 0:15 left  "
            "KL 0.0123");
  bar.End();
  EXPECT_EQ(Written(), "\r\x1b[K");
  bar.End();
  EXPECT_EQ(Written(), "");
}

TEST_F(ProgressBarTest, TerminalLineStaysBelowTheWidthOfTheMoment) {
  ProgressBar bar(Options(true));
  width_ = 30;
  bar.Begin("a phase with quite a long name", 7);
  EXPECT_EQ(Written(), "\r\x1b[Ka phase with quite a long nam");
  width_ = 10;
  now_s_ += 1;
  bar.Update(1, "note");
  EXPECT_EQ(Written(), "\r\x1b[Ka phase w");
  width_ = 0;  // unknown
  now_s_ += 1;
  bar.Update(2, "note");
  EXPECT_EQ(Written().size(), std::string("\r\x1b[K").size() + 79);
}

TEST_F(ProgressBarTest, TerminalRedrawsAtMostTenTimesASecond) {
  ProgressBar bar(Options(true));
  bar.Begin("search", 1000);
  Written();
  int redraws = 0;
  for (int i = 1; i <= 1000; ++i) {
    now_s_ += 0.001;
    bar.Update(i, "");
    redraws += !Written().empty();
  }
  EXPECT_GE(redraws, 9);
  EXPECT_LE(redraws, 10);
}

TEST_F(ProgressBarTest, RateFollowsTheRecentWindow) {
  ProgressBar bar(Options(true));
  bar.Begin("search", 10000);
  for (int i = 1; i <= 60; ++i) {  // a minute at 10 steps per second
    now_s_ += 1;
    bar.Update(10 * i, "");
  }
  EXPECT_TRUE(absl::StrContains(Written(), "600/10000  10.0/s"));
  for (int i = 1; i <= 60; ++i) {  // a minute at 1 step in two seconds
    now_s_ += 1;
    bar.Update(600 + i / 2, "");
  }
  EXPECT_TRUE(absl::StrContains(Written(), "630/10000  2.0 s each"));
}

TEST_F(ProgressBarTest, UnknownTotalHasNoBarAndNoRemainingTime) {
  ProgressBar bar(Options(true));
  bar.Begin("load", 0);
  now_s_ += 2;
  bar.Update(4, "");
  const std::vector<std::string> drawn = absl::StrSplit(Written(), "\r\x1b[K");
  EXPECT_EQ(drawn.back(), "load  4  2.0/s  0:02 elapsed");
}

TEST_F(ProgressBarTest, LogsGetALineAtStartAndEndAndEveryTenSeconds) {
  ProgressBar bar(Options(false));
  bar.Begin("search", 100);
  for (int i = 1; i <= 25; ++i) {
    now_s_ += 1;
    bar.Update(i, "KL 0.5");
  }
  bar.End();
  EXPECT_EQ(Written(),
            "search: 100 steps\n"
            "search: 10/100  1.0/s  0:10 elapsed, 1:30 left  KL 0.5\n"
            "search: 20/100  1.0/s  0:20 elapsed, 1:20 left  KL 0.5\n"
            "search: 25 steps in 0:25\n");
}

OverallProgress SomeJob(double share, double seconds_left) {
  OverallProgress job;
  job.stage = 2;
  job.stages = 7;
  job.name = "costs";
  job.share = share;
  job.passes = 50 * share;
  job.total_passes = 50;
  job.seconds_left = seconds_left;
  return job;
}

TEST_F(ProgressBarTest, TheTerminalShowsTheWholeJobFromItsFirstMoment) {
  ProgressBar bar(Options(true));
  OverallProgress job = SomeJob(0, 75);
  bar.Overall(&job);
  EXPECT_EQ(Written(),
            "\r\x1b[K2/7 costs  [........................]  0 %  0.0/50.0 passes  0:00 elapsed, "
            "about 1:15 left");
  now_s_ += 5;
  job = SomeJob(0.26, 60);
  bar.Overall(&job);
  bar.Begin("gradients", 40);
  Written();
  now_s_ += 10;
  bar.Update(10, "KL 0.5");
  EXPECT_EQ(Written(),
            "\r\x1b[K2/7 costs  [######..................]  26 %  13.0/50.0 passes  0:15 elapsed, "
            "about 0:50 left  gradients 25 %  KL 0.5");
  now_s_ += 1;
  bar.Within(10);
  EXPECT_TRUE(absl::StrContains(Written(), "0:16 elapsed, about 0:49 left  gradients 50 %"));
  bar.End();
  EXPECT_TRUE(absl::StrContains(Written(), "about 0:49 left"));  // the job goes on
  bar.Overall(nullptr);
  EXPECT_EQ(Written(), "\r\x1b[K");
}

TEST_F(ProgressBarTest, ANarrowTerminalShowsHowMuchTimeIsLeft) {
  ProgressBar bar(Options(true));
  width_ = 60;
  bar.Begin("held-out comparison", 40);
  now_s_ += 5;
  bar.Update(10, "");
  const std::string phase = Written();
  EXPECT_TRUE(absl::EndsWith(phase, "held-out comparison  10/40  2.0/s  0:05 elapsed, 0:15 left"));
  OverallProgress job = SomeJob(0, 75);
  bar.Overall(&job);
  EXPECT_EQ(Written(), "\r\x1b[K2/7 costs  0 %  0:00 elapsed, about 1:15 left  held-out com");
}

TEST_F(ProgressBarTest, PlainLinesEndInHowFarTheJobIs) {
  ProgressBar bar(Options(false));
  OverallProgress job = SomeJob(0.26, 60);
  bar.Overall(&job);
  bar.Begin("gradients", 40);
  now_s_ += 10;
  bar.Update(10, "");
  bar.End();
  bar.Overall(nullptr);
  bar.Begin("writing", 0);
  EXPECT_EQ(Written(),
            "7 stages, at most 50.0 passes, about 1:00 left\n"
            "gradients: 40 steps; costs, stage 2 of 7, all 26 %, about 1:00 left\n"
            "gradients: 10/40  1.0/s  0:10 elapsed, 0:30 left; costs, stage 2 of 7, all 26 %, "
            "about 0:50 left\n"
            "gradients: 10 steps in 0:10; costs, stage 2 of 7, all 26 %, about 0:50 left\n"
            "writing\n");
}

TEST_F(ProgressBarTest, TheTickerShowsTimeGoByWithoutSteps) {
  ProgressBar::Options options = Options(true);
  std::atomic<int> seconds = 0;
  options.now_s = [&] { return 1000.0 + seconds++; };
  options.ticks = true;
  ProgressBar bar(options);
  bar.Begin("a long step", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(1300));
  bar.End();
  EXPECT_TRUE(absl::StrContains(Written(), "0/1  0:01 elapsed"));
}

TEST_F(ProgressBarTest, ANewPhaseEndsTheOldOneAndStartsFresh) {
  ProgressBar bar(Options(false));
  bar.Begin("one", 0);
  bar.Update(3, "note");
  bar.Begin("two", 5);
  EXPECT_EQ(Written(), "one\none: 3 steps in 0:00\ntwo: 5 steps\n");
  now_s_ += 10;
  bar.Update(0, "");
  EXPECT_EQ(Written(), "two: 0/5  0:10 elapsed\n");
}

TEST_F(ProgressBarTest, WithoutAStreamNothingHappens) {
  ProgressBar bar(ProgressBar::Options{});
  bar.Begin("search", 1);
  bar.Update(1, "");
  bar.End();
  EXPECT_FALSE(bar.Interrupted());
}

TEST(FormatDurationTest, IsReadable) {
  EXPECT_EQ(FormatDuration(0), "0:00");
  EXPECT_EQ(FormatDuration(59.6), "1:00");
  EXPECT_EQ(FormatDuration(725), "12:05");
  EXPECT_EQ(FormatDuration(3 * 3600 + 9), "3:00:09");
  EXPECT_EQ(FormatDuration(1e300), "?");
  EXPECT_EQ(FormatDuration(-1), "?");
}

class InterruptGuardTest : public testing::TestWithParam<int> {};

TEST_P(InterruptGuardTest, FirstSignalSetsTheFlag) {
  {
    const InterruptGuard guard;
    EXPECT_FALSE(InterruptGuard::Interrupted());
    raise(GetParam());
    EXPECT_TRUE(InterruptGuard::Interrupted());
    EXPECT_TRUE(ProgressBar(ProgressBar::ForStderr()).Interrupted());
  }
  const InterruptGuard guard;
  EXPECT_FALSE(InterruptGuard::Interrupted());
}

TEST_P(InterruptGuardTest, ASignalEndsWhatNeverAsksAtOnce) {
  EXPECT_EXIT(
      {
        { const InterruptGuard guard; }
        InterruptGuard::Interrupted();  // of the guard before
        const InterruptGuard guard;
        raise(GetParam());
      },
      testing::ExitedWithCode(130),
      "^bitbudget: interrupted\n$");
}

TEST_P(InterruptGuardTest, APhaseThatIsSeenAsks) {
  const InterruptGuard guard;
  ProgressBar bar(ProgressBar::ForStderr());
  bar.Begin("phase", 1);
  raise(GetParam());
  EXPECT_TRUE(InterruptGuard::Interrupted());
}

TEST_P(InterruptGuardTest, SecondSignalEndsAtOnce) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard;
        InterruptGuard::Interrupted();
        raise(GetParam());
        raise(GetParam());
      },
      testing::ExitedWithCode(130),
      "interrupt again");
}

TEST_P(InterruptGuardTest, PutsThePreviousHandlerBack) {
  EXPECT_EXIT(
      {
        { const InterruptGuard guard; }
        raise(GetParam());
      },
      testing::KilledBySignal(GetParam()),
      "");
}

INSTANTIATE_TEST_SUITE_P(Signals, InterruptGuardTest, testing::Values(SIGINT, SIGTERM));

}  // namespace
}  // namespace bitbudget
