#ifndef BITBUDGET_TESTS_PLANS_SMALL_PLAN_H_
#define BITBUDGET_TESTS_PLANS_SMALL_PLAN_H_

#include "plans/plan.pb.h"

namespace bitbudget {

// A valid plan of a llama with `layers` layers, hidden size 64, every field set to something that
// a search could have produced. The same for the same argument.
plans::Plan SmallPlan(int layers);

// The same model and probes with other decisions and a smaller budget.
plans::Plan OtherSmallPlan(int layers);

// SmallPlan(layers) after a recovery by two methods.
plans::Plan RecoveredSmallPlan(int layers);

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANS_SMALL_PLAN_H_
