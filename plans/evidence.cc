#include "plans/evidence.h"

namespace bitbudget {

const plans::RecoveryPass* LastPass(const plans::Plan& plan) {
  const auto& passes = plan.recovery().passes();
  return passes.empty() ? nullptr : &passes[passes.size() - 1];
}

const plans::Metrics* HeldOutMetrics(const plans::Plan& plan) {
  if (const plans::RecoveryPass* pass = LastPass(plan); pass != nullptr) {
    return pass->has_held_out() ? &pass->held_out().after() : nullptr;
  }
  const plans::HeldOut& held_out = plan.held_out();
  if (!held_out.has_plan()) return nullptr;
  return held_out.uniform_emitted() ? &held_out.uniform() : &held_out.plan();
}

const plans::TextDivergence* HeldOutText(const plans::Plan& plan) {
  if (const plans::RecoveryPass* pass = LastPass(plan); pass != nullptr) {
    return pass->held_out().has_text_after() ? &pass->held_out().text_after() : nullptr;
  }
  const plans::HeldOut& held_out = plan.held_out();
  if (!held_out.has_plan_text()) return nullptr;
  return held_out.uniform_emitted() ? &held_out.uniform_text() : &held_out.plan_text();
}

}  // namespace bitbudget
