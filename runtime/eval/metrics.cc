#include "runtime/eval/metrics.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/known_names.h"
#include "runtime/base/random.h"

namespace bitbudget {
namespace {

constexpr int kResamples = 2000;
constexpr uint64_t kBootstrapSeed = 0x626f6f74;  // one fixed stream: intervals are reproducible

struct StatisticInfo {
  Statistic statistic;
  const char* name;
  bool larger_is_better;
};

constexpr StatisticInfo kStatistics[] = {
    {Statistic::kFdtMean, "fdt", true},
    {Statistic::kFdt75, "fdt75", true},
    {Statistic::kSdtMean, "sdt", false},
    {Statistic::kDppl, "dppl", false},
    {Statistic::kKlMean, "kl", false},
};

const StatisticInfo& Info(Statistic statistic) {
  for (const StatisticInfo& info : kStatistics) {
    if (info.statistic == statistic) return info;
  }
  LOG(FATAL) << "unknown statistic " << static_cast<int>(statistic);
}

// Quantile with linear interpolation between order statistics; reorders `values`.
double Quantile(std::vector<double>& values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(position);
  std::nth_element(values.begin(), values.begin() + below, values.end());
  const double low = values[below];
  if (below + 1 == values.size()) return low;
  const double high = *std::min_element(values.begin() + below + 1, values.end());
  return low + (position - static_cast<double>(below)) * (high - low);
}

// The statistic over probes[index[0]], probes[index[1]], ...
double ComputeAt(Statistic statistic,
                 std::span<const ProbeResult> probes,
                 std::span<const int> index) {
  if (index.empty()) return 0;
  double sum = 0;
  int64_t tokens = 0;
  std::vector<double> fdts;
  if (statistic == Statistic::kFdt75) fdts.reserve(index.size());
  for (const int i : index) {
    const ProbeResult& probe = probes[i];
    tokens += probe.tokens;
    switch (statistic) {
      case Statistic::kFdtMean:
        sum += probe.fdt;
        break;
      case Statistic::kFdt75:
        fdts.push_back(probe.fdt);
        break;
      case Statistic::kSdtMean:
        sum += probe.sdt;
        break;
      case Statistic::kDppl:
        sum += probe.nll_sum;
        break;
      case Statistic::kKlMean:
        sum += probe.kl_sum;
        break;
    }
  }
  const double per_token = sum / static_cast<double>(std::max<int64_t>(tokens, 1));
  switch (statistic) {
    case Statistic::kFdtMean:
    case Statistic::kSdtMean:
      return sum / static_cast<double>(index.size());
    case Statistic::kFdt75:
      return Quantile(fdts, 0.75);
    case Statistic::kDppl:
      return std::exp(per_token);
    case Statistic::kKlMean:
      return per_token;
  }
  return 0;
}

// Percentile-bootstrap interval of value(resampled probe indices).
template <typename Value>
Interval Bootstrap(size_t probes, const Value& value) {
  if (probes == 0) return {};
  std::vector<double> values(kResamples);
  std::vector<int> index(probes);
  for (int resample = 0; resample < kResamples; ++resample) {
    Random random(kBootstrapSeed, {static_cast<uint64_t>(resample)});
    for (int& i : index) i = static_cast<int>(random.Below(probes));
    values[resample] = value(index);
  }
  return {Quantile(values, 0.025), Quantile(values, 0.975)};
}

// Top1Agreement of probes[index[0]], probes[index[1]], ...
double AgreementAt(std::span<const ProbeResult> probes, std::span<const int> index) {
  int64_t tokens = 0;
  int64_t misses = 0;
  for (const int i : index) {
    tokens += probes[i].tokens;
    misses += probes[i].sdt;
  }
  return tokens == 0 ? 1.0 : 1.0 - static_cast<double>(misses) / static_cast<double>(tokens);
}

std::vector<int> InOrder(size_t probes) {
  std::vector<int> index(probes);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int>(i);
  return index;
}

}  // namespace

double Compute(Statistic statistic, std::span<const ProbeResult> probes) {
  return ComputeAt(statistic, probes, InOrder(probes.size()));
}

bool LargerIsBetter(Statistic statistic) { return Info(statistic).larger_is_better; }

absl::StatusOr<Statistic> ParseStatistic(absl::string_view name) {
  std::vector<absl::string_view> known;
  for (const StatisticInfo& info : kStatistics) {
    if (name == info.name) return info.statistic;
    known.push_back(info.name);
  }
  return UnknownName("objective", name, known);
}

const char* StatisticName(Statistic statistic) { return Info(statistic).name; }

double Top1Agreement(std::span<const ProbeResult> probes) {
  return AgreementAt(probes, InOrder(probes.size()));
}

Interval Top1AgreementInterval(std::span<const ProbeResult> probes) {
  return Bootstrap(probes.size(),
                   [&](std::span<const int> index) { return AgreementAt(probes, index); });
}

Interval BootstrapInterval(Statistic statistic, std::span<const ProbeResult> probes) {
  return Bootstrap(probes.size(),
                   [&](std::span<const int> index) { return ComputeAt(statistic, probes, index); });
}

Interval PairedInterval(Statistic statistic,
                        std::span<const ProbeResult> a,
                        std::span<const ProbeResult> b) {
  CHECK_EQ(a.size(), b.size());
  return Bootstrap(a.size(), [&](std::span<const int> index) {
    return ComputeAt(statistic, a, index) - ComputeAt(statistic, b, index);
  });
}

}  // namespace bitbudget
