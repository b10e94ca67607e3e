#ifndef BITBUDGET_SEARCH_MOVE_MODEL_H_
#define BITBUDGET_SEARCH_MOVE_MODEL_H_

#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "search/exact_fill.h"

namespace bitbudget {

// How the smooth loss (nats per token) changes when one unit alone goes from an incumbent to
// another choice, rows as the problem's ladders: slope + curvature, both 0 for the choice that it
// has. The curvature is never negative.
struct MovePrediction {
  CostTable slope;      // to first order
  CostTable curvature;  // what a further error costs by itself
};

// Predicts moves in the context of an incumbent without running a candidate. It proposes what to
// try; it decides nothing.
class MoveModel {
 public:
  virtual ~MoveModel() = default;

  // Deterministic. kCancelled on interruption.
  virtual absl::StatusOr<MovePrediction> Predict(const Assignment& incumbent) = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_MOVE_MODEL_H_
