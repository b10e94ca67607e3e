#ifndef BITBUDGET_SEARCH_ORDERED_H_
#define BITBUDGET_SEARCH_ORDERED_H_

#include <memory>
#include <string>
#include <vector>

#include "search/search_method.h"

namespace bitbudget {

struct OrderedOptions {
  std::string name;  // "layerwise" or "random"
  // Blocks, most important first (Layer-Wise Quantization, arXiv 2406.17415, section 2b).
  std::vector<int> block_order;
  // The widths, by increasing size; empty: the widest choice below the budget's average bits and
  // the narrowest above it. Two or more.
  std::vector<Format> widths;
};

// Importance order: everything starts at the lowest width; blocks are raised one width in order of
// importance while the budget lasts, then the next width again from the top. The last block that
// does not fit as a whole is filled component by component, so that the byte budget is used up. The
// paper leaves embedding and head outside the average; here they count, so both placements (before
// all blocks, after all blocks) are evaluated and the better one by `objective` is returned.
std::unique_ptr<SearchMethod> MakeOrderedSearch(const OrderedOptions& options,
                                                const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_ORDERED_H_
