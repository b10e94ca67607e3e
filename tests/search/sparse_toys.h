#ifndef BITBUDGET_TESTS_SEARCH_SPARSE_TOYS_H_
#define BITBUDGET_TESTS_SEARCH_SPARSE_TOYS_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/random.h"
#include "search/search_method.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget::testing {

inline Format Sparse(int permille) {
  if (permille == 1000) return Format{FormatKind::kRemoved, 0, 0, false};
  Format format = kFormatBF16;
  if (permille > 0) format.sparsity = {SparsityKind::kShare, permille};
  return format;
}

// Units of random sizes whose loss grows with the square of their share of zeros, each with its own
// sensitivity; `dimensions` as in MakeToy.
inline Toy SparseToy(uint64_t seed,
                     int units,
                     const std::vector<int>& permille,
                     int dimensions = 0) {
  Random random(seed, {91});
  Toy toy;
  const bool additive = dimensions == 0;
  toy.loss.dimensions = additive ? units : dimensions;
  for (int u = 0; u < units; ++u) {
    Component component;
    component.kind = ComponentKind::kQ;
    component.layer = u / 2;
    component.rows = 8 + static_cast<int64_t>(random.Below(56));
    component.cols = 128;
    component.name = "toy." + std::to_string(u);
    std::vector<double> direction(toy.loss.dimensions, 0.0);
    for (double& d : direction) d = additive ? 0 : 2 * random.Uniform() - 1;
    if (additive) direction[u] = 1;
    const double sensitivity = std::exp(4 * random.Uniform() - 4);
    std::vector<Choice> ladder;
    std::vector<std::vector<double>> errors;
    for (auto share = permille.rbegin(); share != permille.rend(); ++share) {
      const int64_t weights = component.rows * component.cols;
      ladder.push_back({Sparse(*share), 2 * weights * (1000 - *share) / 1000});
      errors.push_back(direction);
      for (double& e : errors.back()) e *= sensitivity * *share / 1000.0;
    }
    toy.loss.error.push_back(errors);
    toy.problem.ladders.push_back(ladder);
    toy.problem.components.push_back(component);
  }
  toy.problem.limit = ByteBudget{int64_t{1} << 40};
  return toy;
}

inline std::vector<int> Steps(int step) {
  std::vector<int> permille;
  for (int share = 0; share <= 1000; share += step) permille.push_back(share);
  return permille;
}

inline absl::StatusOr<SearchSummary> TryRun(SearchMethod& method,
                                            const Toy& toy,
                                            SyntheticEvaluator& evaluator,
                                            Retrainer* retrainer = nullptr) {
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.retrainer = retrainer;
  return method.Run(context);
}

}  // namespace bitbudget::testing

#endif  // BITBUDGET_TESTS_SEARCH_SPARSE_TOYS_H_
