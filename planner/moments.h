#ifndef BITBUDGET_PLANNER_MOMENTS_H_
#define BITBUDGET_PLANNER_MOMENTS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/run.h"
#include "planner/workbench.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/eval/weight_encoder.h"

namespace bitbudget {

// Gives the workbench's encoder the moments of its inputs on prompts of the calibration role, from
// the run's store where it has them. Nothing to do for encoders that need none. `moments`, where
// not null, gets a copy.
absl::Status CalibrateEncoder(
    const ProbeMaker& maker, Workbench* bench, Run* run, Progress* progress, InputMoments* moments);

// Moments as a plan holds them.
void AddMoments(const InputMoments& moments, const Model& model, plans::Plan* plan);

// The plan's moments of inputs. kInvalidArgument when they do not fit the model, or are missing
// where the plan's encoder needs them.
absl::StatusOr<InputMoments> MomentsOfPlan(const plans::Plan& plan, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_MOMENTS_H_
