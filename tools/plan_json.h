#ifndef BITBUDGET_TOOLS_PLAN_JSON_H_
#define BITBUDGET_TOOLS_PLAN_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>

#include "planner/workspace/memory_plan.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// What `plan --json` prints: sizes, the search's work, and the held-out metrics of what was emitted
// beside those of the best uniform assignment. `seconds`: what the command took.
nlohmann::ordered_json PlanJson(const plans::Plan& plan,
                                const std::optional<MemoryPlan>& memory,
                                std::optional<double> seconds);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PLAN_JSON_H_
