#include "tools/bench/interleave.h"

#include <glog/logging.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace bitbudget {
namespace {

double Now(clockid_t clock) {
  timespec now;
  CHECK_EQ(clock_gettime(clock, &now), 0);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

std::vector<Timing> Interleave(std::span<const std::function<void()>> contestants,
                               const InterleaveOptions& options) {
  const clockid_t clock = options.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  std::vector<int64_t> calls;
  for (const auto& run : contestants) {
    run();  // touches all memory; what it takes says nothing
    const double start = Now(clock);
    run();
    const double seconds = std::max(Now(clock) - start, 1e-7);
    calls.push_back(std::max<int64_t>(1, std::llround(options.min_seconds / seconds)));
  }
  std::vector<Timing> timings(contestants.size());
  for (int round = 0; round < options.repetitions; ++round) {
    for (size_t i = 0; i < contestants.size(); ++i) {
      const double start = Now(clock);
      for (int64_t call = 0; call < calls[i]; ++call) contestants[i]();
      timings[i].push_back((Now(clock) - start) / static_cast<double>(calls[i]));
    }
  }
  return timings;
}

double Median(std::vector<double> values) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double RelativeSpread(const std::vector<double>& values) {
  const double median = Median(values);
  std::vector<double> deviations;
  for (const double value : values) deviations.push_back(std::abs(value - median));
  return Median(deviations) / median;
}

double SpeedRatio(const Timing& path, const Timing& baseline) {
  CHECK_EQ(path.size(), baseline.size());
  std::vector<double> ratios;
  for (size_t i = 0; i < path.size(); ++i) ratios.push_back(baseline[i] / path[i]);
  return Median(ratios);
}

}  // namespace bitbudget
