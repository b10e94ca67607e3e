#include "plans/validate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/plans/plan_refusals.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {
namespace {

using plans::Plan;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

// clang-format off
const Mutation kMutations[] = {
    {"version", [](Plan& p) { p.set_format_version(0); }, "format_version: 0"},
    {"tool_version", [](Plan& p) { p.clear_tool_version(); }, "tool_version: empty"},
    {"calibration_missing",
     [](Plan& p) { p.mutable_components(3)->set_encoding_sha256(std::string(64, 'a')); },
     "calibration: missing, but components[3].encoding_sha256 is"},
    {"calibration_source", [](Plan& p) { p.mutable_calibration()->set_source("web"); },
     "calibration.source: 'web'"},
    {"calibration_text", [](Plan& p) { p.mutable_calibration()->set_source("text"); },
     "calibration.fingerprint: ''"},
    {"calibration_empty", [](Plan& p) { p.mutable_calibration()->set_source("model"); },
     "calibration.sequences: 0"},
    {"calibration_tokens", [](Plan& p) { p.mutable_calibration()->set_source("model");
                                         p.mutable_calibration()->set_sequences(3);
                                         p.mutable_calibration()->set_tokens(2); },
     "calibration.tokens: 2, fewer than the 3"},
    {"encoding_hash", [](Plan& p) { p.mutable_components(0)->set_encoding_sha256("ab"); },
     "components[0].encoding_sha256: 'ab' is not"},
    {"no_components", [](Plan& p) { p.clear_components(); }, "components: none"},
    {"architecture", [](Plan& p) { p.mutable_model()->clear_architecture(); },
     "model.architecture: empty"},
    {"escape_sequence", [](Plan& p) { p.mutable_model()->set_architecture("a\x1b[2Jb"); },
     "model.architecture: text that is not printable ASCII"},
    {"not_utf8", [](Plan& p) { p.mutable_options()->set_pins(0, "\xff"); },
     "options.pins[0]: text"},
    {"fingerprint_short", [](Plan& p) { p.mutable_model()->mutable_fingerprint()->pop_back(); },
     "model.fingerprint: '0011"},
    {"fingerprint_upper", [](Plan& p) { p.mutable_model()->mutable_fingerprint()->back() = 'F'; },
     "model.fingerprint: '0011"},
    {"parameters_missing", [](Plan& p) { p.mutable_model()->set_parameter_count(86015); },
     "model.parameter_count: 86015, but the components alone have 86016"},
    {"parameters_negative", [](Plan& p) { p.mutable_model()->set_parameter_count(-1); },
     "model.parameter_count: -1 is negative"},
    {"parameters_huge", [](Plan& p) { p.mutable_model()->set_parameter_count(kHuge); },
     "model.stored_bytes: "},
    {"component_missing", [](Plan& p) { p.mutable_components()->DeleteSubrange(4, 1); },
     "model.fixed_bytes: 1280, but 4416 weights"},
    {"stored", [](Plan& p) { p.mutable_model()->set_stored_bytes(86336 / 8 - 1); },
     "model.stored_bytes: "},
    {"stored_huge", [](Plan& p) { p.mutable_model()->set_stored_bytes(kHuge); },
     "model.stored_bytes: 9223372036854775807"},
    {"fixed_too_large", [](Plan& p) { p.mutable_model()->set_fixed_bytes(1281); },
     "model.fixed_bytes: 1281, but 320 weights"},
    {"budget", [](Plan& p) { p.mutable_budget()->set_bytes(PlanSizeBytes(p) - 1); },
     "budget.bytes: "},
    {"budget_text", [](Plan& p) { p.mutable_budget()->clear_requested(); },
     "budget.requested: empty"},
    {"budget_parts", [](Plan& p) { p.mutable_budget()->set_kv_cache_bytes(1); },
     "budget.counts: '', but other fields"},
    {"budget_counts", [](Plan& p) { p.mutable_budget()->set_counts("disk"); },
     "budget.counts: 'disk' is none of"},
    {"budget_sum",
     [](Plan& p) {
       p.mutable_budget()->set_counts("file");
       p.mutable_budget()->set_total_bytes(p.budget().bytes() + 1);
     },
     "budget.total_bytes: "},
    {"budget_sum_overflows",
     [](Plan& p) {
       p.mutable_budget()->set_counts("file");
       p.mutable_budget()->set_file_overhead_bytes(kHuge);
       p.mutable_budget()->set_kv_cache_bytes(kHuge);
       p.mutable_budget()->set_total_bytes(1);
     },
     "budget.total_bytes: 1, but"},
    {"budget_context",
     [](Plan& p) {
       p.mutable_budget()->set_counts("memory");
       p.mutable_budget()->set_total_bytes(p.budget().bytes());
     },
     "budget.context: 0"},
    {"search", [](Plan& p) { p.mutable_options()->clear_search(); }, "options.search: empty"},
    {"objective", [](Plan& p) { p.mutable_options()->clear_objective(); },
     "options.objective: empty"},
    {"encoder_option", [](Plan& p) { p.mutable_options()->set_encoder(""); },
     "options.encoder: empty"},
    {"format_option", [](Plan& p) { p.mutable_options()->set_formats(1, "int5"); },
     "options.formats[1]: "},
    {"probe_source", [](Plan& p) { p.mutable_options()->set_probe_source("web"); },
     "options.probe_source: 'web'"},
    {"probe_fingerprint", [](Plan& p) { p.mutable_options()->clear_probe_fingerprint(); },
     "options.probe_fingerprint: ''"},
    {"probes_negative", [](Plan& p) { p.mutable_options()->set_held_out_probes(-5); },
     "options.held_out_probes: -5 is negative"},
    {"name_empty", [](Plan& p) { p.mutable_components(2)->clear_name(); },
     "components[2].name: empty"},
    {"name_twice", [](Plan& p) { p.mutable_components(2)->set_name(p.components(1).name()); },
     "components[2].name: model.layers.0.self_attn.q_proj appears twice"},
    {"kind", [](Plan& p) { p.mutable_components(2)->set_kind("expert"); },
     "components[2].kind: 'expert'"},
    {"layer_of_embedding", [](Plan& p) { p.mutable_components(0)->set_layer(0); },
     "components[0].layer: 0"},
    {"layer_negative", [](Plan& p) { p.mutable_components(1)->set_layer(-1); },
     "components[1].layer: -1"},
    {"layer_very_negative", [](Plan& p) { p.mutable_components(0)->set_layer(-2); },
     "components[0].layer: -2"},
    {"order", [](Plan& p) { p.mutable_components()->SwapElements(1, 2); },
     "components[2]: model.layers.0.self_attn.q_proj is out of execution order"},
    {"head_first", [](Plan& p) { p.mutable_components()->SwapElements(0, 15); },
     "components[1]: "},
    {"rows_zero", [](Plan& p) { p.mutable_components(1)->set_rows(0); },
     "components[1]: shape [0, 64]"},
    {"shape_overflow",
     [](Plan& p) { p.mutable_components(1)->set_rows(kHuge); p.mutable_components(1)->set_cols(kHuge); },
     "components[1]: shape [9223372036854775807, 9223372036854775807]"},
    {"rows_overflow", [](Plan& p) { p.mutable_components(1)->set_rows(int64_t{1} << 61); },
     "components[1]: shape"},
    {"shape", [](Plan& p) { p.mutable_components(1)->set_cols(128); },
     "components[1].size_bytes: 2176, but int4-g64 [64, 128] takes 4352"},
    {"format", [](Plan& p) { p.mutable_components(1)->set_format("int5-g64"); },
     "components[1].format: "},
    {"size", [](Plan& p) { p.mutable_components(1)->set_size_bytes(2177); },
     "components[1].size_bytes: 2177, but int4-g64 [64, 64] takes 2176"},
    {"encoder_missing", [](Plan& p) { p.mutable_components(1)->clear_encoder(); },
     "components[1].encoder: empty, but the format is int4-g64"},
    {"evidence_format",
     [](Plan& p) { p.mutable_components(1)->mutable_evidence(0)->set_format(""); },
     "components[1].evidence[0].format: "},
    {"evidence_twice",
     [](Plan& p) { *p.mutable_components(1)->mutable_evidence(1) = p.components(1).evidence(0); },
     "components[1].evidence[1].format: int4-g64 appears twice"},
    {"evidence_size",
     [](Plan& p) { p.mutable_components(1)->mutable_evidence(1)->set_size_bytes(1); },
     "components[1].evidence[1].size_bytes: 1, but int8 [64, 64] takes 4224"},
    {"evidence_kl",
     [](Plan& p) { p.mutable_components(1)->mutable_evidence(1)->set_kl_mean(-0.5); },
     "components[1].evidence[1].kl_mean: -0.5"},
    {"evidence_nan",
     [](Plan& p) { p.mutable_components(1)->mutable_evidence(1)->set_kl_mean(std::nan("")); },
     "components[1].evidence[1].kl_mean: nan"},
    {"trace_what", [](Plan& p) { p.mutable_search()->mutable_trace(0)->clear_what(); },
     "search.trace[0].what: empty"},
    {"trace_component",
     [](Plan& p) {
       p.mutable_search()->mutable_trace(1)->mutable_changes(0)->set_component("model.norm");
     },
     "search.trace[1].changes[0].component: 'model.norm'"},
    {"trace_format",
     [](Plan& p) { p.mutable_search()->mutable_trace(1)->mutable_changes(0)->set_format("x"); },
     "search.trace[1].changes[0].format: "},
    {"trace_size", [](Plan& p) { p.mutable_search()->mutable_trace(1)->set_size_bytes(1279); },
     "search.trace[1].size_bytes: 1279"},
    {"trace_fdt", [](Plan& p) { p.mutable_search()->mutable_trace(1)->set_fdt_mean(64.5); },
     "search.trace[1].fdt_mean: 64.5 is outside [0, 64]"},
    {"trace_dppl", [](Plan& p) { p.mutable_search()->mutable_trace(1)->set_dppl(0.5); },
     "search.trace[1].dppl: 0.5"},
    {"candidates", [](Plan& p) { p.mutable_search()->set_candidates(-1); },
     "search.candidates: -1 is negative"},
    {"search_metrics",
     [](Plan& p) { p.mutable_search()->mutable_search_probes()->set_sdt_mean(65); },
     "search.search_probes.sdt_mean: 65"},
    {"held_out_missing", [](Plan& p) { p.clear_held_out(); },
     "held_out.plan: missing from a complete plan"},
    {"held_out_fdt", [](Plan& p) { p.mutable_held_out()->mutable_plan()->set_fdt_mean(-1); },
     "held_out.plan.fdt_mean: -1"},
    {"held_out_top1",
     [](Plan& p) { p.mutable_held_out()->mutable_plan()->set_top1_agreement(1.5); },
     "held_out.plan.top1_agreement: 1.5 is outside [0, 1]"},
    {"held_out_infinite",
     [](Plan& p) {
       p.mutable_held_out()->mutable_plan()->set_dppl(std::numeric_limits<double>::infinity());
     },
     "held_out.plan.dppl: inf"},
    {"interval_missing",
     [](Plan& p) { p.mutable_held_out()->mutable_plan()->clear_kl_interval(); },
     "held_out.plan.kl_interval: missing"},
    {"interval_reversed",
     [](Plan& p) { p.mutable_held_out()->mutable_plan()->mutable_fdt_interval()->set_low(60); },
     "held_out.plan.fdt_interval: [60, 55.25]"},
    {"interval_outside",
     [](Plan& p) { p.mutable_held_out()->mutable_plan()->mutable_fdt_interval()->set_high(65); },
     "held_out.plan.fdt_interval: [47.4375, 65]"},
    {"noise_floor",
     [](Plan& p) { p.mutable_held_out()->mutable_noise_floor()->set_kl_mean(-1); },
     "held_out.noise_floor.kl_mean: -1"},
    {"uniform_format", [](Plan& p) { p.mutable_held_out()->set_uniform_format("q4_9"); },
     "held_out.uniform_format: "},
    {"uniform_unnamed", [](Plan& p) { p.mutable_held_out()->clear_uniform_format(); },
     "held_out.uniform_format: empty, but"},
    {"uniform_missing", [](Plan& p) { p.mutable_held_out()->clear_uniform(); },
     "held_out: uniform, fdt_difference"},
    {"uniform_small", [](Plan& p) { p.mutable_held_out()->set_uniform_size_bytes(1280); },
     "held_out.uniform_size_bytes: 1280, but int4-g64"},
    {"uniform_over_budget",
     [](Plan& p) { p.mutable_held_out()->set_uniform_format("f32");
                   p.mutable_held_out()->set_uniform_size_bytes(p.budget().bytes() + 1); },
     "held_out.uniform_size_bytes: "},
    {"uniform_emitted", [](Plan& p) { p.mutable_held_out()->set_uniform_emitted(true); },
     "held_out.uniform_emitted: true, but"},
    {"text_kl", [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->set_kl_mean(-0.5); },
     "held_out.plan_text.kl_mean: -0.5 is negative"},
    {"text_kl_nan",
     [](Plan& p) { p.mutable_held_out()->mutable_uniform_text()->set_kl_mean(std::nan("")); },
     "held_out.uniform_text.kl_mean: nan"},
    {"text_kl_interval",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->clear_kl_interval(); },
     "held_out.plan_text.kl_interval: missing"},
    {"text_kl_interval_negative",
     [](Plan& p) { p.mutable_held_out()->mutable_uniform_text()->mutable_kl_interval()->set_low(-1); },
     "held_out.uniform_text.kl_interval: [-1, 0.2]"},
    {"text_kl_999",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->set_kl_999(-0.5); },
     "held_out.plan_text.kl_999: -0.5 is negative"},
    {"text_kl_999_nan",
     [](Plan& p) { p.mutable_held_out()->mutable_uniform_text()->set_kl_999(std::nan("")); },
     "held_out.uniform_text.kl_999: nan"},
    {"text_kl_999_without_interval",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->clear_kl_999_interval(); },
     "held_out.plan_text: kl_999 and kl_999_interval are given together"},
    {"text_kl_999_interval_alone",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->clear_kl_999(); },
     "held_out.plan_text: kl_999 and kl_999_interval are given together"},
    {"text_kl_999_interval",
     [](Plan& p) {
       p.mutable_held_out()->mutable_plan_text()->mutable_kl_999_interval()->set_low(100);
     },
     "held_out.plan_text.kl_999_interval: [100, "},
    {"text_top1",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->set_top1_agreement(1.25); },
     "held_out.plan_text.top1_agreement: 1.25 is outside [0, 1]"},
    {"text_top1_interval",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->clear_top1_interval(); },
     "held_out.plan_text.top1_interval: missing"},
    {"text_top1_interval_above",
     [](Plan& p) { p.mutable_held_out()->mutable_plan_text()->mutable_top1_interval()->set_high(2); },
     "held_out.plan_text.top1_interval: [0.8125, 2]"},
    {"text_of_uniform_missing", [](Plan& p) { p.mutable_held_out()->clear_uniform_text(); },
     "held_out: uniform_text and text_kl_difference"},
    {"text_of_plan_missing", [](Plan& p) { p.mutable_held_out()->clear_plan_text(); },
     "held_out: uniform_text and text_kl_difference"},
    {"text_difference_missing",
     [](Plan& p) { p.mutable_held_out()->clear_text_kl_difference(); },
     "held_out: uniform_text and text_kl_difference"},
    {"text_difference",
     [](Plan& p) { p.mutable_held_out()->mutable_text_kl_difference()->set_low(1); },
     "held_out.text_kl_difference: [1, -0.025]"},
    {"text_without_metrics",
     [](Plan& p) { p.set_complete(false); p.mutable_held_out()->clear_plan(); },
     "held_out.plan_text: given without held_out.plan"},
    {"difference_fdt",
     [](Plan& p) { p.mutable_held_out()->mutable_fdt_difference()->set_high(129); },
     "held_out.fdt_difference: [3.25, 129]"},
    {"difference_kl",
     [](Plan& p) { p.mutable_held_out()->mutable_kl_difference()->set_low(1); },
     "held_out.kl_difference: [1, 0.001]"},
};
// clang-format on

INSTANTIATE_TEST_SUITE_P(All, RefusalTest, testing::ValuesIn(kMutations), [](const auto& info) {
  return std::string(info.param.name);
});

TEST(ValidateTest, AcceptsGoodPlansOfManySizes) {
  for (const int layers : {1, 2, 3, 32, 100}) {
    EXPECT_TRUE(ValidatePlan(SmallPlan(layers)).ok()) << ValidatePlan(SmallPlan(layers));
    EXPECT_TRUE(ValidatePlan(OtherSmallPlan(layers)).ok()) << ValidatePlan(OtherSmallPlan(layers));
  }
}

TEST(ValidateTest, AcceptsAnInterruptedPlanWithoutMeasurements) {
  Plan plan = SmallPlan(1);
  plan.set_complete(false);
  plan.clear_held_out();
  plan.mutable_search()->clear_search_probes();
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
}

// As earlier versions wrote them, and where windows are too short to be followed.
TEST(ValidateTest, AcceptsAPlanWithoutTextDivergence) {
  Plan plan = SmallPlan(1);
  plan.mutable_held_out()->clear_plan_text();
  plan.mutable_held_out()->clear_uniform_text();
  plan.mutable_held_out()->clear_text_kl_difference();
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
}

TEST(ValidateTest, AcceptsAPlanWithoutTheTail) {
  Plan plan = SmallPlan(1);
  plans::HeldOut& held_out = *plan.mutable_held_out();
  for (plans::TextDivergence* text :
       {held_out.mutable_plan_text(), held_out.mutable_uniform_text()}) {
    text->clear_kl_999();
    text->clear_kl_999_interval();
  }
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
}

TEST(ValidateTest, AcceptsATiedEmbeddingAndProbesFromTheModel) {
  Plan plan = SmallPlan(1);
  const plans::Component head = plan.components(8);
  plan.mutable_components()->RemoveLast();
  plan.mutable_model()->set_parameter_count(plan.model().parameter_count() - 96 * 64);
  plan.mutable_model()->set_stored_bytes(4 * plan.model().parameter_count());
  plan.mutable_options()->set_probe_source("model");
  plan.mutable_options()->clear_probe_fingerprint();
  plan.mutable_held_out()->set_uniform_size_bytes(plan.held_out().uniform_size_bytes() - 96 * 34);
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
}

TEST(ValidateTest, ExactlyTheBudgetFits) {
  Plan plan = SmallPlan(1);
  plan.mutable_held_out()->set_uniform_format("int4-g64");
  plan.mutable_budget()->set_bytes(PlanSizeBytes(plan));
  EXPECT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
}

TEST(PlanSizeTest, AddsComponentsAndFixedPart) {
  const Plan plan = SmallPlan(1);
  int64_t expected = plan.model().fixed_bytes();
  for (const plans::Component& c : plan.components()) expected += c.size_bytes();
  EXPECT_EQ(PlanSizeBytes(plan), expected);
  EXPECT_DOUBLE_EQ(
      PlanBitsPerWeight(plan),
      8.0 * static_cast<double>(expected) / static_cast<double>(plan.model().parameter_count()));
}

TEST(PlanSizeTest, SaturatesOnHostileSizes) {
  Plan plan;
  EXPECT_EQ(PlanBitsPerWeight(plan), 0);
  plan.mutable_model()->set_fixed_bytes(kHuge);
  plan.add_components()->set_size_bytes(kHuge);
  EXPECT_EQ(PlanSizeBytes(plan), kHuge);
}

}  // namespace
}  // namespace bitbudget
