#include "scoring/scores.h"

#include <algorithm>
#include <numeric>

namespace bitbudget {

std::vector<int> OrderByImportance(const std::vector<double>& scores, bool larger_is_important) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return larger_is_important ? scores[a] > scores[b] : scores[a] < scores[b];
  });
  return order;
}

}  // namespace bitbudget
