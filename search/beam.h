#ifndef BITBUDGET_SEARCH_BEAM_H_
#define BITBUDGET_SEARCH_BEAM_H_

#include <memory>

#include "absl/status/status.h"
#include "search/merit.h"
#include "search/search_method.h"

namespace bitbudget {

struct BeamOptions {
  int width = 10;  // the paper's; 1: greedy
  MeritKind order = MeritKind::kFdt;
  // Runs every expansion on all probes.
  bool exhaustive = false;

  // kInvalidArgument names the field and its value.
  absl::Status Validate() const;
};

// Ordered quantization with a beam (Divergent Token Metrics, arXiv 2311.01544): everything starts
// in the high of two formats, and at every depth one more unit goes to the low one. Expansions of
// the beam's states that are the same are run once, the `width` of highest merit are kept. A state
// within the budget leaves the beam; the one of highest merit of all that left it is the result.
//   The two formats: the ladders' only two, else the first pair of WidthChains (search/widths.h). A
//   unit that cannot take one of them has the next smaller choice.
//   Unless it is exhaustive, two rules save work. Of a state only the 2 * width units (at least 8)
//   are tried that had the highest merit alone, at depth 1, which always runs all. Their expansions
//   are screened (SearchSession::Screen), and the best three of every state run on all probes.
// The trace is the order: one step for every unit that went low, from everything in the high
// format, and so says what any smaller number of low units gives.
// With MeritKind::kPpl, candidates are ranked on SearchContext::text, which must not be null, and
// the trace and the result are measured by the context's evaluator.
// REQUIRES: options.Validate() is OK.
std::unique_ptr<SearchMethod> MakeBeamSearch(const BeamOptions& options);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_BEAM_H_
