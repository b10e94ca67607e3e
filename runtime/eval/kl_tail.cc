#include "runtime/eval/kl_tail.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "runtime/eval/bootstrap.h"

namespace bitbudget {
namespace {

constexpr double kQuantile = 0.999;

// Sorted once: the thousandth part of the values that a percentile needs is then at the front,
// however often each probe was drawn.
class Tail {
 public:
  explicit Tail(std::span<const ProbeResult> probes) : probes_(probes) {
    for (size_t i = 0; i < probes.size(); ++i) {
      for (const float kl : probes[i].text.kls) falling_.emplace_back(kl, static_cast<int>(i));
    }
    std::sort(falling_.begin(), falling_.end(), std::greater<>());
  }

  // Of probes[index[0]], probes[index[1]], ...
  double At(std::span<const int> index) const {
    std::vector<int64_t> drawn(probes_.size(), 0);
    int64_t tokens = 0;
    for (const int i : index) {
      ++drawn[i];
      tokens += static_cast<int64_t>(probes_[i].text.kls.size());
    }
    if (tokens == 0) return 0;
    const double position = kQuantile * static_cast<double>(tokens - 1);
    const int64_t below = static_cast<int64_t>(position);
    const int64_t above = tokens - 1 - below;  // how many values are above the lower neighbour
    int64_t seen = 0;
    double high = 0;
    for (const auto& [kl, probe] : falling_) {
      if (drawn[probe] == 0) continue;
      if (seen < above) high = kl;
      seen += drawn[probe];
      if (seen <= above) continue;
      if (above == 0) return kl;
      return kl + (position - static_cast<double>(below)) * (high - kl);
    }
    return 0;
  }

 private:
  std::span<const ProbeResult> probes_;
  std::vector<std::pair<float, int>> falling_;  // KL and its probe
};

}  // namespace

double TextKl999(std::span<const ProbeResult> probes) {
  std::vector<int> all(probes.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  return Tail(probes).At(all);
}

Interval TextKl999Interval(std::span<const ProbeResult> probes) {
  const Tail tail(probes);
  return Bootstrap(probes.size(), [&](std::span<const int> index) { return tail.At(index); });
}

bool HasTextKls(std::span<const ProbeResult> probes) {
  return HasText(probes) && std::all_of(probes.begin(), probes.end(), [](const ProbeResult& probe) {
           return probe.text.kls.size() == static_cast<size_t>(probe.text.tokens);
         });
}

}  // namespace bitbudget
