#include "runtime/quantize/pruning.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

// Zeroes the `count` entries of `kept` with the smallest scores, the first of equal ones first.
void Prune(std::span<const float> scores, int64_t count, std::span<uint8_t> kept) {
  if (count == 0) return;
  std::vector<float> sorted(scores.begin(), scores.end());
  const auto last = sorted.begin() + (count - 1);
  std::nth_element(sorted.begin(), last, sorted.end());
  const float limit = *last;
  int64_t at_limit =
      count - std::count_if(sorted.begin(), last, [&](float score) { return score < limit; });
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < limit || (scores[i] == limit && at_limit-- > 0)) kept[i] = 0;
  }
}

}  // namespace

absl::StatusOr<Pruning> ParsePruning(absl::string_view name) {
  for (const Pruning pruning : {Pruning::kMagnitude, Pruning::kWanda, Pruning::kFisher}) {
    if (name == PruningName(pruning)) return pruning;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown pruning '", absl::CEscape(name), "'; known are magnitude, wanda and fisher"));
}

const char* PruningName(Pruning pruning) {
  switch (pruning) {
    case Pruning::kMagnitude:
      return "magnitude";
    case Pruning::kWanda:
      return "wanda";
    case Pruning::kFisher:
      return "fisher";
  }
  return "";
}

absl::StatusOr<std::vector<uint8_t>> ChooseKept(const TensorView& weights,
                                                const Format& format,
                                                const InputStats& stats,
                                                int threads) {
  CHECK(format.IsSparse());
  const int64_t rows = weights.rows;
  const int64_t cols = weights.cols;
  const bool wanda = stats.pruning == Pruning::kWanda;
  if (wanda && stats.moments.empty() && weights.size() > 0) {
    return absl::InvalidArgumentError(
        "pruning by wanda needs the moments of the inputs, from calibration text");
  }
  const bool fisher = stats.pruning == Pruning::kFisher;
  if (fisher && stats.fisher.empty() && weights.size() > 0) {
    return absl::InvalidArgumentError(
        "pruning by fisher needs gradients, taken on calibration text");
  }
  std::vector<float> factors(cols, 1.0f);
  for (int64_t i = 0; wanda && i < cols; ++i) factors[i] = std::sqrt(stats.moments[i]);
  std::vector<float> scores(rows * cols);
  BB_RETURN_IF_ERROR(
      ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
        for (int64_t i = 0; i < cols; ++i) {
          const int64_t at = row * cols + i;
          scores[at] =
              fisher ? values[i] * values[i] * stats.fisher[at] : std::abs(values[i]) * factors[i];
        }
        return absl::OkStatus();
      }));
  std::vector<uint8_t> kept(rows * cols, 1);
  const auto prune = [&](int64_t begin, int64_t size, int64_t count) {
    Prune(std::span(scores).subspan(begin, size), count, std::span(kept).subspan(begin, size));
  };
  if (format.sparsity.kind == SparsityKind::k2of4) {
    ParallelFor(threads, rows, [&](int64_t row, int) {
      for (int64_t i = 0; i < cols; i += 4) {
        const int64_t size = std::min<int64_t>(4, cols - i);
        prune(row * cols + i, size, size - KeptOfFour(size));
      }
    });
    return kept;
  }
  const int64_t pruned = PrunedByShare(format.sparsity, rows, cols);
  if (!wanda) {
    prune(0, rows * cols, pruned);
    return kept;
  }
  // floor(i p / rows) without the product.
  const auto before = [&](int64_t row) { return pruned / rows * row + pruned % rows * row / rows; };
  ParallelFor(threads, rows, [&](int64_t row, int) {
    prune(row * cols, cols, before(row + 1) - before(row));
  });
  return kept;
}

}  // namespace bitbudget
