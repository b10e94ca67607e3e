#include "runtime/eval/metrics.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/known_names.h"
#include "runtime/eval/bootstrap.h"

namespace bitbudget {
namespace {

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
    {Statistic::kTextKl, "text-kl", false},
    {Statistic::kTextPpl, "text-ppl", false},
    {Statistic::kLoss, "loss", false},
};

const StatisticInfo& Info(Statistic statistic) {
  for (const StatisticInfo& info : kStatistics) {
    if (info.statistic == statistic) return info;
  }
  LOG(FATAL) << "unknown statistic " << static_cast<int>(statistic);
}

// The statistic over probes[index[0]], probes[index[1]], ...
double ComputeAt(Statistic statistic,
                 std::span<const ProbeResult> probes,
                 std::span<const int> index) {
  if (index.empty()) return 0;
  if (statistic == Statistic::kFdt75) {
    std::vector<double> fdts;
    for (const int i : index) fdts.push_back(probes[i].fdt);
    return Quantile(fdts, 0.75);
  }
  StatisticTerm sum;
  for (const int i : index) {
    const StatisticTerm term = TermOf(statistic, probes[i]);
    sum.value += term.value;
    sum.weight += term.weight;
  }
  const double mean = sum.value / std::max(sum.weight, 1.0);
  const bool perplexity = statistic == Statistic::kDppl || statistic == Statistic::kTextPpl;
  return perplexity ? std::exp(mean) : mean;
}

// Top1Agreement of probes[index[0]], probes[index[1]], ...
double AgreementAt(Along along, std::span<const ProbeResult> probes, std::span<const int> index) {
  int64_t tokens = 0;
  int64_t misses = 0;
  for (const int i : index) {
    const bool text = along == Along::kText;
    tokens += text ? probes[i].text.tokens : probes[i].tokens;
    misses += text ? probes[i].text.misses : probes[i].sdt;
  }
  return tokens == 0 ? 1.0 : 1.0 - static_cast<double>(misses) / static_cast<double>(tokens);
}

std::vector<int> InOrder(size_t probes) {
  std::vector<int> index(probes);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int>(i);
  return index;
}

}  // namespace

StatisticTerm TermOf(Statistic statistic, const ProbeResult& probe) {
  switch (statistic) {
    case Statistic::kFdtMean:
    case Statistic::kFdt75:
      return {static_cast<double>(probe.fdt), 1};
    case Statistic::kSdtMean:
      return {static_cast<double>(probe.sdt), 1};
    case Statistic::kDppl:
      return {probe.nll_sum, static_cast<double>(probe.tokens)};
    case Statistic::kKlMean:
      return {probe.kl_sum, static_cast<double>(probe.tokens)};
    case Statistic::kTextKl:
      return {probe.text.kl_sum, static_cast<double>(probe.text.tokens)};
    case Statistic::kTextPpl:
      return {probe.text.nll_sum, static_cast<double>(probe.text.tokens)};
    case Statistic::kLoss:
      return {probe.text.kl_sum + kCompletionWeight * probe.kl_sum,
              probe.text.tokens + kCompletionWeight * probe.tokens};
  }
  return {};
}

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

double Top1Agreement(Along along, std::span<const ProbeResult> probes) {
  return AgreementAt(along, probes, InOrder(probes.size()));
}

Interval Top1AgreementInterval(Along along, std::span<const ProbeResult> probes) {
  return Bootstrap(probes.size(),
                   [&](std::span<const int> index) { return AgreementAt(along, probes, index); });
}

bool HasText(std::span<const ProbeResult> probes) {
  return std::any_of(
      probes.begin(), probes.end(), [](const ProbeResult& probe) { return probe.text.tokens > 0; });
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

Interval PairedRatioInterval(Statistic statistic,
                             std::span<const ProbeResult> a,
                             std::span<const ProbeResult> b) {
  CHECK_EQ(a.size(), b.size());
  return Bootstrap(a.size(), [&](std::span<const int> index) {
    return ComputeAt(statistic, a, index) / ComputeAt(statistic, b, index);
  });
}

}  // namespace bitbudget
