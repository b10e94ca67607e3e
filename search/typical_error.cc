#include "search/typical_error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bitbudget {
namespace {

// The share of the energy of normal weights that lies in the smallest `share` of them by magnitude:
// for |w| < t that is erf(t / sqrt 2) - t sqrt(2 / pi) exp(-t^2 / 2), and the share itself is the
// first term.
double PrunedEnergy(double share) {
  double low = 0;
  double high = 10;  // erf(10 / sqrt 2) is 1
  for (int i = 0; i < 60; ++i) {
    const double t = (low + high) / 2;
    (std::erf(t / std::numbers::sqrt2) < share ? low : high) = t;
  }
  return share - low * std::sqrt(2 / std::numbers::pi) * std::exp(-low * low / 2);
}

double CodeError(const Format& format) {
  if (format.kind == FormatKind::kOneBit) return 1 - 2 / std::numbers::pi;
  // A step of 2 * 2.5 sigma / 2^b has the variance step^2 / 12.
  constexpr double kRange = 5;
  return std::min(1.0, kRange * kRange / 12 * std::exp2(-2.0 * format.bits));
}

}  // namespace

int SparsityPermille(const Format& format) {
  if (format.kind == FormatKind::kRemoved) return 1000;
  switch (format.sparsity.kind) {
    case SparsityKind::kDense:
      return 0;
    case SparsityKind::kShare:
      return format.sparsity.permille;
    case SparsityKind::k2of4:
      return 500;
  }
  return 0;
}

double TypicalError(const Format& format) {
  if (format.kind == FormatKind::kRemoved) return 1;
  double pruned = 0;
  if (format.sparsity.kind == SparsityKind::kShare) {
    pruned = PrunedEnergy(format.sparsity.permille / 1000.0);
  } else if (format.sparsity.kind == SparsityKind::k2of4) {
    // The two smallest of four normal magnitudes: more than the smallest half of many. The mean of
    // |w|_(1)^2 + |w|_(2)^2 over 4, by numerical integration.
    pruned = 0.1324;
  }
  return pruned + (1 - pruned) * CodeError(format);
}

}  // namespace bitbudget
