#ifndef BITBUDGET_PLANS_VALIDATE_H_
#define BITBUDGET_PLANS_VALIDATE_H_

#include "absl/status/status.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// Checks a plan against itself: known version, known formats, names unique, shapes positive, every
// size re-derived with SizeBits, evidence likewise, the total within the budget, metrics finite and
// in range. kInvalidArgument names the field path, e.g. "components[3].size_bytes: 1024, but
// int4-g64 [256, 256] takes 34816".
absl::Status ValidatePlan(const plans::Plan& plan);

// The bytes of the whole planned model: components plus what no plan touches.
int64_t PlanSizeBytes(const plans::Plan& plan);
double PlanBitsPerWeight(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_VALIDATE_H_
