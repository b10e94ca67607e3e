#ifndef BITBUDGET_TOOLS_EXPLORE_TEXTS_H_
#define BITBUDGET_TOOLS_EXPLORE_TEXTS_H_

#include "nlohmann/json.hpp"
#include "planner/jobs/explore_job.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What the report's plans write after its prompts, in pieces of text, beside the reference: the
// `continuations` of the page's document.
nlohmann::ordered_json ExploreTexts(const ExploreReport& report, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXPLORE_TEXTS_H_
