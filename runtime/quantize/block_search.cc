#include "runtime/quantize/block_search.h"

#include <cmath>

#include "runtime/quantize/block_affine_search.h"
#include "runtime/quantize/block_rtn.h"
#include "runtime/quantize/block_scale_search.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lattice_search.h"

namespace bitbudget {
namespace {

// One bit: levels are -1 and 1, so codes are signs and the weighted mean magnitude is the best d.
void SearchSigns(std::span<const float> weights,
                 std::span<const float> importance,
                 BlockFields* fields) {
  double sum = 0.0;
  double total = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double v = importance.empty() ? 1.0 : static_cast<double>(importance[i]);
    sum += v * std::abs(weights[i]);
    total += v;
  }
  fields->d = RoundToHalf(static_cast<float>(sum / total));
}

// Powers of two around the one of round to nearest; the best is kept by the caller's comparison.
void SearchExponent(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    BlockFields* fields) {
  const float centre = fields->d;
  double best = SquaredError(weights, importance, traits, *fields);
  BlockFields tried = *fields;
  for (const float factor : {0.125f, 0.25f, 0.5f, 2.0f}) {
    tried.d = centre * factor;
    if (!(tried.d >= 0x1p-128f && tried.d <= 0x1p127f)) continue;
    RoundToFields(weights, traits, &tried);
    const double error = SquaredError(weights, importance, traits, tried);
    if (error < best) {
      best = error;
      *fields = tried;
    }
  }
}

}  // namespace

void SearchBlock(std::span<const float> weights,
                 std::span<const float> importance,
                 const BlockTraits& traits,
                 BlockFields* fields) {
  RoundBlock(weights, traits, fields);
  if (!std::isfinite(fields->d) || !std::isfinite(fields->dmin)) return;
  if (traits.kind == FormatKind::kMXFP4) return SearchExponent(weights, importance, traits, fields);
  const BlockFields rtn = *fields;
  if (traits.lattice != nullptr) {
    SearchLatticeBlock(weights, importance, traits, fields);
  } else if (traits.kind == FormatKind::kQ1_0) {
    SearchSigns(weights, importance, fields);
  } else if (traits.minimum) {
    SearchScalesAndMinimums({weights, importance, traits}, fields);
  } else {
    SearchScales({weights, importance, traits}, fields);
  }
  if (traits.lattice == nullptr) RoundToFields(weights, traits, fields);
  // The promise to be no worse is kept in double, on what is stored.
  if (!(SquaredError(weights, importance, traits, *fields) <
        SquaredError(weights, importance, traits, rtn))) {
    *fields = rtn;
  }
}

}  // namespace bitbudget
