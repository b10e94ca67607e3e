#ifndef BITBUDGET_PLANS_VALIDATE_H_
#define BITBUDGET_PLANS_VALIDATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// Checks a plan against itself: known version, known formats and encoders, names unique, components
// in execution order with positive shapes, every size re-derived with SizeBits, evidence likewise,
// parameter counts that add up, the total within the budget, metrics finite and in range, text
// printable ASCII. Safe for any message, however hostile. kInvalidArgument names the field path,
// e.g. "components[3].size_bytes: 1024, but int4-g64 [256, 256] takes 34816".
absl::Status ValidatePlan(const plans::Plan& plan);

// The bytes of the whole planned model: components plus what no plan touches. Saturates at the
// largest int64 instead of overflowing.
int64_t PlanSizeBytes(const plans::Plan& plan);

// PlanSizeBytes in bits over all weights of the checkpoint; 0 for a plan without any.
double PlanBitsPerWeight(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_VALIDATE_H_
