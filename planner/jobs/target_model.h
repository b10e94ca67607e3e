#ifndef BITBUDGET_PLANNER_JOBS_TARGET_MODEL_H_
#define BITBUDGET_PLANNER_JOBS_TARGET_MODEL_H_

#include "plans/targets/target.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// The model as target profiles see it.
TargetModel ModelForTargets(const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_TARGET_MODEL_H_
