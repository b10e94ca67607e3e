#include "tests/plans/small_plan.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "plans/plan_io.h"
#include "plans/validate.h"
#include "runtime/tensor/format.h"

namespace bitbudget {
namespace {

void SetFormat(plans::Component* c, const std::string& format) {
  c->set_format(format);
  const Format parsed = *ParseFormat(format);
  c->set_encoder(!parsed.IsFloat() ? "clip" : "");
  c->set_size_bytes(SizeBytes(parsed, c->rows(), c->cols()));
}

void AddComponent(plans::Plan* plan,
                  const std::string& name,
                  const std::string& kind,
                  int layer,
                  int64_t rows,
                  int64_t cols,
                  const std::string& format) {
  plans::Component* c = plan->add_components();
  c->set_name(name);
  c->set_kind(kind);
  c->set_layer(layer);
  c->set_rows(rows);
  c->set_cols(cols);
  SetFormat(c, format);
}

void SetInterval(plans::Interval* interval, double low, double high) {
  interval->set_low(low);
  interval->set_high(high);
}

void SetMetrics(plans::Metrics* m, double fdt, double kl) {
  m->set_fdt_mean(fdt);
  SetInterval(m->mutable_fdt_interval(), fdt - 4.0625, fdt + 3.75);
  m->set_fdt_75(64);
  SetInterval(m->mutable_fdt_75_interval(), 61.5, 64);
  m->set_sdt_mean(0.1 + kl * 100);  // 0.1: a double without a short binary form
  SetInterval(m->mutable_sdt_interval(), kl * 90, 1.0 / 3 + kl * 110);
  m->set_dppl(1.0625 + kl);
  SetInterval(m->mutable_dppl_interval(), 1.0 + kl / 3, 1.375 + kl);
  m->set_kl_mean(kl);
  SetInterval(m->mutable_kl_interval(), kl / 3, kl * 3);
  m->set_top1_agreement(1 - kl);
}

void SetText(plans::TextDivergence* text, double kl) {
  text->set_kl_mean(kl);
  SetInterval(text->mutable_kl_interval(), kl / 2, kl * 2);
  text->set_top1_agreement(0.9 - kl);
  SetInterval(text->mutable_top1_interval(), 0.875 - kl, 0.925 - kl);
  text->set_kl_999(16 * kl);
  SetInterval(text->mutable_kl_999_interval(), 12 * kl, 24 * kl);
}

plans::Plan Model(int layers) {
  plans::Plan plan;
  plan.set_format_version(kPlanFormatVersion);
  AddComponent(&plan, "model.embed_tokens", "embed", -1, 96, 64, "int8-g64");
  for (int b = 0; b < layers; ++b) {
    const std::string at = absl::StrCat("model.layers.", b, ".");
    const std::string attention = b % 2 == 0 ? "int4-g64" : "int4z-g32";
    AddComponent(&plan, at + "self_attn.q_proj", "q", b, 64, 64, attention);
    AddComponent(&plan, at + "self_attn.k_proj", "k", b, 32, 64, "int8");
    AddComponent(&plan, at + "self_attn.v_proj", "v", b, 32, 64, "bf16");
    AddComponent(&plan, at + "self_attn.o_proj", "o", b, 64, 64, attention);
    AddComponent(&plan, at + "mlp.gate_proj", "gate", b, 128, 64, "int4-g64");
    AddComponent(&plan, at + "mlp.up_proj", "up", b, 128, 64, "int4-g64");
    AddComponent(&plan, at + "mlp.down_proj", "down", b, 64, 128, "int8z-g128");
  }
  AddComponent(&plan, "lm_head", "head", -1, 96, 64, "int8");

  const int64_t fixed = 64 * (2 * layers + 1);  // norms
  int64_t weights = fixed;
  for (const plans::Component& c : plan.components()) weights += c.rows() * c.cols();
  plans::ModelInfo* model = plan.mutable_model();
  model->set_architecture("LlamaForCausalLM");
  model->set_fingerprint("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  model->set_parameter_count(weights);
  model->set_stored_bytes(4 * weights);
  model->set_fixed_bytes(4 * fixed);

  plan.mutable_budget()->set_requested("7bpw");
  plan.mutable_budget()->set_bytes(weights * 7 / 8);
  plans::Options* o = plan.mutable_options();
  o->set_search("greedy");
  o->set_objective("fdt");
  o->set_encoder("clip");
  o->set_activations("int16");
  o->set_seed(18446744073709551615u);  // does not fit a double: JSON must not round it
  for (const char* format : {"int4-g64", "int4z-g32", "int8", "int8-g64", "int8z-g128", "bf16"}) {
    o->add_formats(format);
  }
  o->add_pins("embed=int8-g64");
  o->add_min_bits("down=8");
  o->set_probe_source("text");
  o->set_probe_fingerprint("ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100");
  o->set_search_probes(16);
  o->set_held_out_probes(32);
  o->set_prefix_tokens(24);
  o->set_completion_tokens(64);
  plan.set_complete(true);
  plan.set_tool_version("0.1.0");
  return plan;
}

}  // namespace

plans::Plan SmallPlan(int layers) {
  plans::Plan plan = Model(layers);
  plans::Component* q = plan.mutable_components(1);
  for (const char* format : {"int4-g64", "int8"}) {
    plans::FormatEvidence* evidence = q->add_evidence();
    evidence->set_format(format);
    evidence->set_size_bytes(SizeBytes(*ParseFormat(format), q->rows(), q->cols()));
    evidence->set_kl_mean(evidence->size_bytes() > 4000 ? 1e-300 : 0.1);
  }
  plans::Search* search = plan.mutable_search();
  search->set_candidates(1234);
  search->set_rounds(7);
  search->set_computed(1000);
  search->set_naive(int64_t{1} << 60);
  search->add_trace()->set_what("start");
  search->mutable_trace(0)->set_size_bytes(plan.model().stored_bytes());
  plans::TraceStep* step = search->add_trace();
  step->set_what("round");
  plans::Change* change = step->add_changes();
  change->set_component(q->name());
  change->set_format("int4-g64");
  step->set_size_bytes(PlanSizeBytes(plan));
  step->set_fdt_mean(60.5);
  step->set_dppl(1.0625);
  step->set_kl_mean(1.0 / 3);
  step->set_text_kl(0.375);
  SetMetrics(search->mutable_search_probes(), 52.25, 0.0123);

  plans::HeldOut* held_out = plan.mutable_held_out();
  SetMetrics(held_out->mutable_plan(), 51.5, 0.0145);
  held_out->set_uniform_format("int4-g64");
  int64_t uniform = plan.model().fixed_bytes();
  for (const plans::Component& c : plan.components()) {
    const bool pinned = c.kind() == "embed" || c.kind() == "down";
    uniform += pinned ? c.size_bytes() : SizeBytes(*ParseFormat("int4-g64"), c.rows(), c.cols());
  }
  held_out->set_uniform_size_bytes(uniform);
  SetMetrics(held_out->mutable_uniform(), 44.125, 0.0375);
  SetInterval(held_out->mutable_fdt_difference(), 3.25, 11.5);
  SetInterval(held_out->mutable_kl_difference(), -0.03, 0.001);
  SetMetrics(held_out->mutable_noise_floor(), 60.25, 1e-5);
  SetText(held_out->mutable_plan_text(), 0.0625);
  SetText(held_out->mutable_uniform_text(), 0.1);
  SetInterval(held_out->mutable_text_kl_difference(), -0.05, -0.025);
  return plan;
}

plans::Plan RecoveredSmallPlan(int layers) {
  plans::Plan plan = SmallPlan(layers);
  for (plans::Component& c : *plan.mutable_components()) {
    if (!c.encoder().empty()) c.set_encoding_sha256(std::string(64, 'b'));
  }
  plans::Recovery* recovery = plan.mutable_recovery();
  recovery->set_weights_file("plan.pb.weights.safetensors");
  recovery->set_weights_sha256(std::string(64, 'c'));
  plans::RecoveryPass* pass = recovery->add_passes();
  for (const char* method : {"blockwise", "scales"}) {
    plans::RecoveryStep* step = pass->add_steps();
    const bool first = pass->steps_size() == 1;
    step->set_method(method);
    step->set_steps(first ? 1280 : 60);
    step->set_loss_before(first ? 0.25 : 0.1);
    step->set_loss_after(0.1);
    step->set_loss_trained(first ? 0.1 : 0.125);
  }
  plans::RecoveryData* data = pass->mutable_data();
  data->set_text_fingerprint(std::string(64, 'd'));
  data->set_text_sequences(24);
  data->set_sampled_sequences(40);
  data->set_kept_aside(8);
  data->set_tokens(64 * 88);
  pass->set_learning_rate(0.001);
  pass->set_freeze("ov");
  pass->set_kl_weight(1);
  pass->set_batch(4);
  pass->set_seed(3);
  pass->set_complete(true);
  pass->set_tool_version("0.1.0");
  plans::RecoveryEvidence* evidence = pass->mutable_held_out();
  evidence->set_probe_source("text");
  evidence->set_probe_fingerprint(std::string(64, 'd'));
  evidence->set_probes(32);
  evidence->set_prefix_tokens(24);
  evidence->set_completion_tokens(64);
  SetMetrics(evidence->mutable_before(), 51.5, 0.0145);
  SetMetrics(evidence->mutable_after(), 56.5, 0.0078125);
  SetInterval(evidence->mutable_fdt_difference(), 1.5, 7.25);
  SetInterval(evidence->mutable_kl_difference(), -0.0078125, -0.0059);
  for (plans::TextDivergence* text :
       {evidence->mutable_text_before(), evidence->mutable_text_after()}) {
    const double kl = text == &evidence->text_before() ? 0.0625 : 0.03125;
    text->set_kl_mean(kl);
    SetInterval(text->mutable_kl_interval(), kl / 2, kl * 2);
    text->set_top1_agreement(1 - kl);
    SetInterval(text->mutable_top1_interval(), 1 - 2 * kl, 1 - kl / 2);
  }
  SetInterval(evidence->mutable_text_kl_difference(), -0.04, -0.025);
  return plan;
}

plans::Plan OtherSmallPlan(int layers) {
  plans::Plan plan = Model(layers);
  for (plans::Component& c : *plan.mutable_components()) {
    if (c.kind() == "v") SetFormat(&c, "int4-g64");
    if (c.kind() == "head") c.set_encoder("rtn");
  }
  plan.mutable_options()->set_search("additive");
  plan.mutable_budget()->set_requested("6.5bpw");
  plan.mutable_budget()->set_bytes(plan.model().parameter_count() * 13 / 16);
  SetMetrics(plan.mutable_held_out()->mutable_plan(), 40.0, 0.0625);
  return plan;
}

}  // namespace bitbudget
