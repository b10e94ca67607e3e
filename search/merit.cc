#include "search/merit.h"

#include <cmath>
#include <limits>

#include "runtime/base/known_names.h"

namespace bitbudget {
namespace {

// The mean of a sum over tokens, negated; a candidate that is not finite is worse than all others.
double Negated(double sum, double tokens) {
  if (!std::isfinite(sum)) return -std::numeric_limits<double>::max();
  return tokens > 0 ? -sum / tokens : 0;
}

}  // namespace

const char* MeritKindName(MeritKind kind) {
  switch (kind) {
    case MeritKind::kFdt:
      return "fdt";
    case MeritKind::kDppl:
      return "dppl";
    case MeritKind::kPpl:
      return "ppl";
  }
  return "unknown";
}

absl::StatusOr<MeritKind> ParseMeritKind(absl::string_view name) {
  for (const MeritKind kind : {MeritKind::kFdt, MeritKind::kDppl, MeritKind::kPpl}) {
    if (name == MeritKindName(kind)) return kind;
  }
  return UnknownName("beam order", name, {"fdt", "dppl", "ppl"});
}

Merit MeritOf(MeritKind kind, const Evaluation& evaluation) {
  double tokens = 0;
  double nll = 0;
  double kl = 0;
  for (const ProbeResult& probe : evaluation) {
    tokens += probe.tokens;
    nll += probe.nll_sum;
    kl += probe.kl_sum;
  }
  if (kind != MeritKind::kFdt) return {Negated(nll, tokens), 0, 0, 0};
  return {Compute(Statistic::kFdt75, evaluation),
          Compute(Statistic::kFdtMean, evaluation),
          -Compute(Statistic::kSdtMean, evaluation),
          Negated(kl, tokens)};
}

}  // namespace bitbudget
