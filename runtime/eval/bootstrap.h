#ifndef BITBUDGET_RUNTIME_EVAL_BOOTSTRAP_H_
#define BITBUDGET_RUNTIME_EVAL_BOOTSTRAP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// The quantile q of n values, interpolated linearly: of the values in rising order, counted from 0,
// the one at q (n - 1), which numpy.quantile gives by default. Reorders `values`. REQUIRES: n > 0
// and 0 <= q <= 1.
double Quantile(std::vector<double>& values, double q);

// The 95 % percentile-bootstrap interval of value(index), a function of which probes (a
// std::span<const int>) are looked at: as many as there are, drawn with replacement. {0, 0} for no
// probes.
template <typename Value>
Interval Bootstrap(size_t probes, const Value& value) {
  constexpr int kResamples = 2000;
  constexpr uint64_t kSeed = 0x626f6f74;  // one fixed stream: intervals are reproducible
  if (probes == 0) return {};
  std::vector<double> values(kResamples);
  std::vector<int> index(probes);
  for (int resample = 0; resample < kResamples; ++resample) {
    Random random(kSeed, {static_cast<uint64_t>(resample)});
    for (int& i : index) i = static_cast<int>(random.Below(probes));
    values[resample] = value(index);
  }
  return {Quantile(values, 0.025), Quantile(values, 0.975)};
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_BOOTSTRAP_H_
