#ifndef BITBUDGET_TOOLS_BENCH_INTERLEAVE_H_
#define BITBUDGET_TOOLS_BENCH_INTERLEAVE_H_

#include <functional>
#include <span>
#include <vector>

namespace bitbudget {

struct InterleaveOptions {
  int repetitions = 11;  // rounds
  // Threads that a contestant runs on. One: the thread's own CPU time is measured, which other
  // processes do not add to. More: wall time.
  int threads = 1;
  // Calls of a contestant are repeated within a round until they take this long together.
  double min_seconds = 0.03;
};

// Seconds per call of one contestant, one value per round.
using Timing = std::vector<double>;

// Times all contestants in every round, one after the other (A B C A B C ...), so that clock rates,
// other load and page placement meet all of them alike; ratios are taken within a round. A first
// round warms up and is not counted.
std::vector<Timing> Interleave(std::span<const std::function<void()>> contestants,
                               const InterleaveOptions& options);

// REQUIRES (all): not empty.
double Median(std::vector<double> values);
// The median absolute deviation from the median, as a share of it.
double RelativeSpread(const std::vector<double>& values);
// The median over rounds of baseline / path: how many times as fast the path is.
double SpeedRatio(const Timing& path, const Timing& baseline);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_INTERLEAVE_H_
