#ifndef BITBUDGET_PLANS_EVIDENCE_H_
#define BITBUDGET_PLANS_EVIDENCE_H_

#include "plans/plan.pb.h"

namespace bitbudget {

// The last run of a plan's recovery, whose result the plan is; null for a plan that was not
// recovered.
const plans::RecoveryPass* LastPass(const plans::Plan& plan);

// The held-out metrics of what the plan describes: of its recovery where there was one, else of the
// assignment that was emitted. Null where they were not measured.
const plans::Metrics* HeldOutMetrics(const plans::Plan& plan);

// Likewise along windows of text.
const plans::TextDivergence* HeldOutText(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_EVIDENCE_H_
