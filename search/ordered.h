#ifndef BITBUDGET_SEARCH_ORDERED_H_
#define BITBUDGET_SEARCH_ORDERED_H_

#include <memory>
#include <string>
#include <vector>

#include "search/search_method.h"

namespace bitbudget {

struct OrderedOptions {
  std::string name;  // "layerwise" or "random"
  // Layers, most important first (Layer-Wise Quantization, arXiv 2406.17415, section 2b).
  std::vector<int> layer_order;
  // The widths, by increasing size, two or more. Empty: chosen from the problem.
  std::vector<Format> widths;
};

// Importance order: everything starts at the lowest width; layers are raised one width in order of
// importance while the budget lasts, then the next width again from the top. From the first layer
// that does not fit as a whole on, units (search/problem.h) are raised one by one where they fit,
// so that the byte budget is used up. A unit that cannot take a width takes its next smaller
// choice.
//
// The paper leaves two things open, and a fair rival takes the best answer to both, so a few plans
// are evaluated and the best by `objective` is returned (at most 12):
//   - Embedding and head are outside the paper's average. Here they count, and are raised before
//     all layers or after all layers.
//   - Which two widths: WidthChains (search/widths.h).
// Above removed layers (the widths "removed" and another one: pruning, the paper's other baseline)
// layers are raised as a whole only, wherever they fit.
std::unique_ptr<SearchMethod> MakeOrderedSearch(const OrderedOptions& options,
                                                const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_ORDERED_H_
