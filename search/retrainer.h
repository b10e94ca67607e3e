#ifndef BITBUDGET_SEARCH_RETRAINER_H_
#define BITBUDGET_SEARCH_RETRAINER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "runtime/eval/assignment.h"

namespace bitbudget {

// Where a search is among its rounds.
struct RoundsDone {
  int64_t done = 0;
  int64_t left = 0;  // as far as can be told
};

// Trains a model between the rounds of a search that prunes it.
class Retrainer {
 public:
  virtual ~Retrainer() = default;

  // Trains the weights under the masks of an assignment. From then on all evaluations are of the
  // trained weights, whatever the assignment, and the evaluator's incumbent must be set anew.
  // kCancelled on interruption.
  virtual absl::Status Retrain(const Assignment& assignment, const RoundsDone& rounds) = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_RETRAINER_H_
