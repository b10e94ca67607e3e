#ifndef BITBUDGET_PLANNER_JOBS_SAME_MODEL_H_
#define BITBUDGET_PLANNER_JOBS_SAME_MODEL_H_

#include <cstdint>

#include "absl/status/status.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// Whether `other` is `model` but for the values of weights and the formats that they are stored in:
// the same settings, shapes and token ids, so that it can run on the same probes, of up to
// `context` positions. Numbers that a container rounds to float may differ as much.
// kInvalidArgument names the file and the first difference, with both values.
absl::Status CheckSameModel(const Model& model, const Model& other, int64_t context);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_SAME_MODEL_H_
