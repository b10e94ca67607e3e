#ifndef BITBUDGET_RUNTIME_EVAL_METRICS_H_
#define BITBUDGET_RUNTIME_EVAL_METRICS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// A candidate on one probe: the result of one teacher-forced pass over the reference's greedy
// completion of N tokens (Divergent Token Metrics, arXiv 2311.01544; docs/design.md, "Evaluation"),
// or over N tokens of natural text. A position is a hit when the candidate's argmax (lowest id
// among ties) is the reference's, which along its own completion is the token there.
struct ProbeResult {
  int tokens = 0;      // N, completion tokens compared
  int fdt = 0;         // first divergent token: index of the first miss, N if all hit
  int sdt = 0;         // share of divergent tokens, as a count of misses
  double nll_sum = 0;  // -log p(token there), nats, summed over positions
  double kl_sum = 0;   // KL(reference || candidate), nats, summed over positions

  // The same along the prompt, which the pass runs anyway: natural text, or what the model sampled.
  // The first kTextPromptTokens tokens are not measured on (runtime/eval/reference.h).
  struct Text {
    int tokens = 0;  // that are measured on
    int misses = 0;
    double nll_sum = 0;
    double kl_sum = 0;
    // KL of every one of these tokens, in order; empty where only sums were asked for (TokenKls).
    std::vector<float> kls = {};

    friend bool operator==(const Text&, const Text&) = default;
  };
  Text text = {};

  friend bool operator==(const ProbeResult&, const ProbeResult&) = default;
};

// Whether an evaluation keeps the KL of every token of the prompts. A search asks for thousands of
// evaluations and reads sums alone.
enum class TokenKls : uint8_t { kSummed, kKept };

// A negative log likelihood or divergence of one position as results sum it: at most kMaxNats,
// which also stands for values that are not finite. A candidate so broken that its logits overflow
// must lose every comparison, not poison it; and exp(kMaxNats), its perplexity, is still finite.
inline constexpr double kMaxNats = 700;
inline double BoundedNats(double nats) {
  return std::isfinite(nats) ? std::min(nats, kMaxNats) : kMaxNats;
}

// One evaluation: a result per probe, in probe order.
using Evaluation = std::vector<ProbeResult>;

// Statistics over probes. Larger is better for the FDT pair, smaller for the others.
//   kFdtMean, kFdt75 (75th percentile, linear interpolation), kSdtMean: tokens
//   kDppl: divergent perplexity, exp(mean nll of the reference's tokens)
//   kKlMean: nats per token
//   kTextKl: KL along the prompts, nats per token
//   kTextPpl: perplexity of the prompts, exp(mean nll of their tokens)
//   kLoss: KL along both, nats per token, a completion's tokens counting kCompletionWeight times
enum class Statistic : uint8_t {
  kFdtMean,
  kFdt75,
  kSdtMean,
  kDppl,
  kKlMean,
  kTextKl,
  kTextPpl,
  kLoss
};

// Greedy completions are easy text, along which KL is about half of that along natural text
// (measured: 1.4 to 2.2 times less); with this weight both matter about as much.
inline constexpr double kCompletionWeight = 2;

// What a probe contributes to a statistic that is a ratio of sums, sum(value) / sum(weight): FDT
// and SDT are means over probes, the others over tokens (of perplexities this is the mean nll).
struct StatisticTerm {
  double value = 0;
  double weight = 0;
};
StatisticTerm TermOf(Statistic statistic, const ProbeResult& probe);

double Compute(Statistic statistic, std::span<const ProbeResult> probes);
bool LargerIsBetter(Statistic statistic);

// "fdt", "fdt75", "sdt", "dppl", "kl", "text-kl", "text-ppl", "loss"
absl::StatusOr<Statistic> ParseStatistic(absl::string_view name);
const char* StatisticName(Statistic statistic);

// Share of positions where the candidate's argmax is the reference's, in [0, 1], along completions
// or along prompts; 1 where there are none.
enum class Along : uint8_t { kCompletions, kText };
double Top1Agreement(Along along, std::span<const ProbeResult> probes);

// Whether any prompt is long enough to be measured along.
bool HasText(std::span<const ProbeResult> probes);

struct Interval {
  double low = 0;
  double high = 0;
};

// 95 % percentile-bootstrap interval over probes (2000 resamples from a fixed stream, so the same
// data give the same interval).
Interval BootstrapInterval(Statistic statistic, std::span<const ProbeResult> probes);

// That of Top1Agreement.
Interval Top1AgreementInterval(Along along, std::span<const ProbeResult> probes);

// The same for the paired difference a - b: both are resampled with the same probes.
// REQUIRES: a.size() == b.size().
Interval PairedInterval(Statistic statistic,
                        std::span<const ProbeResult> a,
                        std::span<const ProbeResult> b);

// The same for the ratio a / b.
Interval PairedRatioInterval(Statistic statistic,
                             std::span<const ProbeResult> a,
                             std::span<const ProbeResult> b);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_METRICS_H_
