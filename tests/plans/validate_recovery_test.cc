// What a plan may say of a recovery.

#include <gtest/gtest.h>

#include <string>

#include "tests/plans/plan_refusals.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {
namespace {

using plans::Plan;

const std::string kHash(64, 'a');

plans::Recovery* Recover(Plan* plan) {
  *plan = RecoveredSmallPlan(2);
  return plan->mutable_recovery();
}
plans::RecoveryPass* Pass(Plan* plan) { return Recover(plan)->mutable_passes(0); }

// clang-format off
const Mutation kMutations[] = {
    {"recovery_file", [](Plan& p) { Recover(&p)->set_weights_file("../codes"); },
     "recovery.weights_file: '../codes' is not the name of a file"},
    {"recovery_no_file", [](Plan& p) { Recover(&p)->clear_weights_file(); },
     "recovery.weights_file: ''"},
    {"recovery_hash", [](Plan& p) { Recover(&p)->set_weights_sha256("ab"); },
     "recovery.weights_sha256: 'ab' is not"},
    {"recovery_component", [](Plan& p) { Recover(&p);
                                         p.mutable_components(1)->clear_encoding_sha256(); },
     "components[1].encoding_sha256: missing from a recovered plan"},
    {"recovery_stored", [](Plan& p) { Recover(&p);
                                      p.mutable_components(3)->set_encoding_sha256(kHash); },
     "components[3].encoding_sha256: set for weights that stay as they are"},
    {"recovery_empty", [](Plan& p) { Recover(&p)->clear_passes(); }, "recovery.passes: none"},
    {"recovery_transformed", [](Plan& p) { Recover(&p)->set_transformed(true); },
     "recovery.transformed: set, but no pass"},
    {"recovery_steps", [](Plan& p) { Pass(&p)->clear_steps(); }, "recovery.passes[0].steps: none"},
    {"recovery_method", [](Plan& p) { Pass(&p)->mutable_steps(0)->clear_method(); },
     "recovery.passes[0].steps[0].method: empty"},
    {"recovery_worse", [](Plan& p) { Pass(&p)->mutable_steps(0)->set_loss_after(2); },
     "recovery.passes[0].steps[0].loss_after: 2 is above 0.25 before"},
    {"recovery_trained", [](Plan& p) { Pass(&p)->mutable_steps(0)->set_loss_trained(-1); },
     "recovery.passes[0].steps[0].loss_trained: -1 is negative"},
    {"recovery_factor", [](Plan& p) { Pass(&p)->set_rate_factor(-1); },
     "recovery.passes[0].rate_factor: -1 is negative"},
    {"recovery_negative", [](Plan& p) { Pass(&p)->mutable_steps(0)->set_loss_after(-1); },
     "recovery.passes[0].steps[0].loss_after: -1 is negative"},
    {"recovery_text", [](Plan& p) { Pass(&p)->mutable_data()->set_text_sequences(0); },
     "recovery.passes[0].data.text_sequences: 0, but there is a text"},
    {"recovery_no_text", [](Plan& p) { Pass(&p)->mutable_data()->clear_text_fingerprint(); },
     "recovery.passes[0].data.text_sequences: 24, but there is no text"},
    {"recovery_aside", [](Plan& p) { Pass(&p)->mutable_data()->set_kept_aside(64); },
     "recovery.passes[0].data.kept_aside: 64 of 64 sequences"},
    {"recovery_tokens", [](Plan& p) { Pass(&p)->mutable_data()->set_tokens(63); },
     "recovery.passes[0].data.tokens: 63, fewer than the 64"},
    {"recovery_rate", [](Plan& p) { Pass(&p)->set_learning_rate(-1); },
     "recovery.passes[0].learning_rate: -1 is negative"},
    {"recovery_kl_weight", [](Plan& p) { Pass(&p)->set_kl_weight(1.5); },
     "recovery.passes[0].kl_weight: 1.5 is outside"},
    {"recovery_hidden_weight", [](Plan& p) { Pass(&p)->set_hidden_weight(-1); },
     "recovery.passes[0].hidden_weight: -1 is negative"},
    {"recovery_windows", [](Plan& p) { Pass(&p)->mutable_held_out()->clear_text_after(); },
     "recovery.passes[0].held_out.text_before: given, but"},
    {"recovery_window_kl",
     [](Plan& p) { Pass(&p)->mutable_held_out()->mutable_text_after()->set_kl_mean(-1); },
     "recovery.passes[0].held_out.text_after.kl_mean: -1 is negative"},
    {"recovery_batch", [](Plan& p) { Pass(&p)->set_batch(0); }, "recovery.passes[0].batch: 0"},
    {"recovery_tool", [](Plan& p) { Pass(&p)->clear_tool_version(); },
     "recovery.passes[0].tool_version: empty"},
    {"recovery_unmeasured", [](Plan& p) { Pass(&p)->clear_held_out(); },
     "recovery.passes[0].held_out: missing from a complete recovery"},
    {"recovery_metrics",
     [](Plan& p) { Pass(&p)->mutable_held_out()->mutable_after()->set_top1_agreement(2); },
     "recovery.passes[0].held_out.after.top1_agreement: 2 is outside"},
    {"recovery_interval",
     [](Plan& p) { Pass(&p)->mutable_held_out()->mutable_kl_difference()->set_low(9); },
     "recovery.passes[0].held_out.kl_difference: [9"},
    {"recovery_source", [](Plan& p) { Pass(&p)->mutable_held_out()->set_probe_source("web"); },
     "recovery.passes[0].held_out.probe_source: 'web'"},
};
// clang-format on

INSTANTIATE_TEST_SUITE_P(All, RefusalTest, testing::ValuesIn(kMutations), [](const auto& info) {
  return std::string(info.param.name);
});

}  // namespace
}  // namespace bitbudget
