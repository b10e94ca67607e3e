#ifndef BITBUDGET_PLANS_PINNED_H_
#define BITBUDGET_PLANS_PINNED_H_

#include "plans/plan.pb.h"

namespace bitbudget {

// Whether a --pin of the plan fixed the component's format. REQUIRES: a valid plan.
bool IsPinned(const plans::Plan& plan, const plans::Component& component);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_PINNED_H_
