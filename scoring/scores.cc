#include "scoring/scores.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace bitbudget {
namespace {

std::optional<double> MeanOf(const ComponentMeasure& measure,
                             ComponentKind kind,
                             const Model& model) {
  const bool geometric = measure.mean == ComponentMeasure::Mean::kGeometric;
  double sum = 0;
  int64_t count = 0;
  for (size_t c = 0; c < measure.values.size(); ++c) {
    const std::optional<double>& value = measure.values[c];
    if (model.component(static_cast<ComponentId>(c)).kind != kind || !value.has_value()) continue;
    if (geometric && !(*value > 0)) continue;
    sum += geometric ? std::log(*value) : *value;
    ++count;
  }
  if (count == 0) return std::nullopt;
  const double mean = sum / static_cast<double>(count);
  return geometric ? std::exp(mean) : mean;
}

}  // namespace

std::vector<int> OrderByImportance(const std::vector<double>& scores, MostImportant which) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return which == MostImportant::kLargest ? scores[a] > scores[b] : scores[a] < scores[b];
  });
  return order;
}

std::vector<KindMeans> MeansByKind(const LayerScores& scores, const Model& model) {
  std::vector<KindMeans> kinds;
  for (int k = 0; k <= static_cast<int>(ComponentKind::kHead); ++k) {
    KindMeans kind{static_cast<ComponentKind>(k), 0, {}};
    for (const Component& component : model.components()) {
      kind.components += component.kind == kind.kind;
    }
    if (kind.components == 0) continue;
    for (const ComponentMeasure& measure : scores.measures) {
      kind.means.push_back(MeanOf(measure, kind.kind, model));
    }
    kinds.push_back(std::move(kind));
  }
  return kinds;
}

}  // namespace bitbudget
