#ifndef BITBUDGET_PLANS_RENDER_H_
#define BITBUDGET_PLANS_RENDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// A plan as text for people: the request, the size, the held-out metrics beside those of the best
// uniform assignment, and one line per layer with the format of every component. Formats are
// shortened ("4zg64" is int4z-g64) and spelled out below the table. All of this fits a terminal of
// `width` columns; 0: any. REQUIRES: a valid plan.
std::string RenderPlan(const plans::Plan& plan, int width = 0);

// What changes from plan `a` to plan `b`: components, sizes and held-out metrics side by side, and
// a warning if the metrics were measured on different probes. The names say which plan is which.
// kInvalidArgument if the plans are for different models. REQUIRES: valid plans.
absl::StatusOr<std::string> RenderDiff(const plans::Plan& a,
                                       const std::string& a_name,
                                       const plans::Plan& b,
                                       const std::string& b_name,
                                       int width = 0);

// What it says of its recovery: methods, data, and the held-out metrics before and after. Empty for
// a plan that was not recovered.
std::string RenderRecovery(const plans::Plan& plan, int width = 0);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_RENDER_H_
