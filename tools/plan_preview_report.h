#ifndef BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_
#define BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>

#include "planner/jobs/plan_preview.h"

namespace bitbudget {

// What `--dry-run` of `plan` and `explore` prints: a table of the stages, the memory and the
// problem.
std::string RenderPreview(const PlanPreview& preview);

// The same for `plan --json`, of one job; docs/usage.md has the fields.
nlohmann::ordered_json PreviewJson(const PlanPreview& preview);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_
