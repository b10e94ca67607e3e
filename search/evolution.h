#ifndef BITBUDGET_SEARCH_EVOLUTION_H_
#define BITBUDGET_SEARCH_EVOLUTION_H_

#include <cstdint>
#include <memory>

#include "search/objective.h"
#include "search/search_method.h"

namespace bitbudget {

struct EvolutionOptions {
  // Work of all candidates, in runs of a whole candidate on all probes through all layers: eight
  // times the limit of greedy by gradients.
  double max_evaluations = 100;
  uint64_t seed = 0;  // of mutations and of the probes that offspring are selected on
};

// EvoPress (arXiv 2410.14649), a (1 + 16) evolution strategy on the loss of whole candidates.
//   Start: every unit as many levels up from its smallest choice as all of them can go together; in
//     random order one level more while the budget lasts.
//   Offspring: one to three random units (the less of two draws) a level up, random others a level
//     down until the size is within the budget; what is left of it goes to random others. Where
//     units are of one size, that is the paper's level switch.
//   Selection: the four of least loss on a twelfth of the probes, of these the one on a third. That
//     is run on all and becomes the parent when its loss is lower than the parent's. The first two
//     stages draw probes anew.
// A level is a choice of the ladder; choices that are larger than another one and typically make a
// larger error (TypicalError) are none. It ends when the work of another generation is not left, or
// when the parent has no offspring. Of the objective only its loss counts.
std::unique_ptr<SearchMethod> MakeEvolutionSearch(const EvolutionOptions& options,
                                                  const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_EVOLUTION_H_
