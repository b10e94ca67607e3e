#ifndef BITBUDGET_PLANS_VALIDATE_H_
#define BITBUDGET_PLANS_VALIDATE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "plans/plan.pb.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Checks a plan against itself: known version and formats, unique names, components in execution
// order with positive shapes, every size re-derived with SizeBits (evidence too), parameter counts
// that add up, the total within the budget, metrics finite and in range, text printable ASCII. Safe
// for any message, however hostile. kInvalidArgument names the field path, e.g.
// "components[3].size_bytes: 1024, but int4-g64 [256, 256] takes 34816".
//
// Whether the plan's target can load it is checked by CheckPlan (plans/targets/plan_file.h).
absl::Status ValidatePlan(const plans::Plan& plan);

// Checks held_out.uniform_size_bytes against `uniform`, what every component becomes under the
// uniform assignment. ValidatePlan calls it for plans without a target; a target may substitute
// formats. REQUIRES: the plan names a uniform format, every other field is valid, and `uniform` has
// one format per component.
absl::Status CheckUniformSize(const plans::Plan& plan, const std::vector<Format>& uniform);

// The bytes of the whole planned model: components plus what no plan touches. Saturates at the
// largest int64 instead of overflowing.
int64_t PlanSizeBytes(const plans::Plan& plan);

// Whether every matrix keeps its stored weights, so that there is nothing to measure.
bool ChangesNothing(const plans::Plan& plan);

// PlanSizeBytes in bits per weight of the checkpoint; 0 for a plan without weights.
double PlanBitsPerWeight(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_VALIDATE_H_
