#include "scoring/zd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/base/parallel.h"

namespace bitbudget {
namespace {

// Rows per work item. Part of the result's definition to the last bit (sums are per item, then over
// items in order), so it does not depend on the machine.
constexpr int64_t kRowsPerItem = 64;

struct Moments {
  int64_t count = 0;
  double mean = 0;
  double squares = 0;  // sum of squared deviations from the mean

  double Deviation() const { return count > 0 ? std::sqrt(squares / count) : 0.0; }
};

// Chan, Golub, LeVeque (1983): exact up to rounding, also for a mean far from zero.
Moments Merge(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double n_a = static_cast<double>(a.count);
  const double n_b = static_cast<double>(b.count);
  const double n = n_a + n_b;
  const double difference = b.mean - a.mean;
  return {a.count + b.count,
          a.mean + difference * (n_b / n),
          a.squares + b.squares + difference * difference * (n_a * n_b / n)};
}

int64_t Items(const TensorView& weight) { return (weight.rows + kRowsPerItem - 1) / kRowsPerItem; }

// Calls visit(item, row) for every row, widened to float; rows of one item in order, on one thread.
template <typename Visit>
void ForRows(const TensorView& weight, int threads, const Visit& visit) {
  ParallelFor(threads, Items(weight), [&](int64_t item, int) {
    std::vector<float> row(static_cast<size_t>(weight.cols));
    const int64_t end = std::min(weight.rows, (item + 1) * kRowsPerItem);
    for (int64_t r = item * kRowsPerItem; r < end; ++r) {
      weight.ReadRow(r, row);
      visit(item, row);
    }
  });
}

Moments MomentsOf(const TensorView& weight, int threads) {
  std::vector<Moments> parts(static_cast<size_t>(Items(weight)));
  ForRows(weight, threads, [&](int64_t item, const std::vector<float>& row) {
    Moments of_row;
    of_row.count = static_cast<int64_t>(row.size());
    double sum = 0;
    for (const float w : row) sum += w;
    of_row.mean = row.empty() ? 0.0 : sum / static_cast<double>(row.size());
    for (const float w : row) of_row.squares += (w - of_row.mean) * (w - of_row.mean);
    parts[item] = Merge(parts[item], of_row);
  });
  Moments total;
  for (const Moments& part : parts) total = Merge(total, part);
  return total;
}

// How many weights are more than one standard deviation above the mean, for each of two
// populations that the weights belong to.
struct Counts {
  int64_t first = 0;
  int64_t second = 0;
};

Counts CountAbove(const TensorView& weight,
                  const Moments& first,
                  const Moments& second,
                  int threads) {
  std::vector<Counts> parts(static_cast<size_t>(Items(weight)));
  const double first_deviation = first.Deviation();
  const double second_deviation = second.Deviation();
  ForRows(weight, threads, [&](int64_t item, const std::vector<float>& row) {
    for (const float w : row) {
      parts[item].first += w - first.mean > first_deviation;
      parts[item].second += w - second.mean > second_deviation;
    }
  });
  Counts total;
  for (const Counts& part : parts) {
    total.first += part.first;
    total.second += part.second;
  }
  return total;
}

double Share(int64_t count, const Moments& of) {
  // Without spread nothing stands out, whatever the last bit of the mean says.
  if (of.squares == 0) return 0;
  return static_cast<double>(count) / static_cast<double>(of.count);
}

}  // namespace

double ZScoreDistribution(std::span<const TensorView> weights, int threads) {
  Moments pooled;
  for (const TensorView& weight : weights) pooled = Merge(pooled, MomentsOf(weight, threads));
  int64_t above = 0;
  for (const TensorView& weight : weights) {
    above += CountAbove(weight, pooled, pooled, threads).first;
  }
  return Share(above, pooled);
}

absl::StatusOr<LayerScores> ScoreZd(const ScoreContext& context) {
  const Model& model = *context.model;
  const int threads = context.threads;
  const std::vector<Component>& components = model.components();
  const int count = static_cast<int>(components.size());
  int layers = 0;
  for (const Component& component : components) layers = std::max(layers, component.layer + 1);

  std::vector<Moments> own(count), pooled(layers);
  for (int c = 0; c < count; ++c) {
    own[c] = MomentsOf(model.Weight(c), threads);
    const int b = components[c].layer;
    if (b >= 0) pooled[b] = Merge(pooled[b], own[c]);
  }
  LayerScores scores;
  scores.scorer = "zd";
  scores.components.resize(count);
  std::vector<int64_t> above(layers, 0);
  for (int c = 0; c < count; ++c) {
    const int b = components[c].layer;
    const Counts counts = CountAbove(model.Weight(c), own[c], b >= 0 ? pooled[b] : own[c], threads);
    scores.components[c] = Share(counts.first, own[c]);
    if (b >= 0) above[b] += counts.second;
  }
  for (int b = 0; b < layers; ++b) scores.layers.push_back(Share(above[b], pooled[b]));
  scores.order = OrderByImportance(scores.layers, MostImportant::kSmallest);
  return scores;
}

}  // namespace bitbudget
