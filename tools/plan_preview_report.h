#ifndef BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_
#define BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>

#include "planner/jobs/plan_preview.h"

namespace bitbudget {

// What `plan --dry-run` prints: a table of the stages, the memory and the problem.
std::string RenderPreview(const PlanPreview& preview);

// The same for `--json`; docs/usage.md has the fields.
nlohmann::ordered_json PreviewJson(const PlanPreview& preview);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PLAN_PREVIEW_REPORT_H_
