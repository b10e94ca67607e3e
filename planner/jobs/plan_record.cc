#include "planner/jobs/plan_record.h"

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "planner/jobs/search_methods.h"
#include "plans/plan_io.h"

namespace bitbudget {
namespace {

plans::ModelInfo ModelInfoOf(const Model& model) {
  plans::ModelInfo info;
  info.set_architecture(model.config().architecture_name);
  info.set_fingerprint(model.Fingerprint());
  info.set_parameter_count(model.parameter_count());
  info.set_stored_bytes(model.stored_bytes());
  info.set_fixed_bytes(model.fixed_bytes());
  return info;
}

plans::Budget BudgetOf(const PlanOptions& options,
                       const SearchProblem& problem,
                       const PlanFindings& findings) {
  plans::Budget budget;
  if (const auto* goal = std::get_if<SparsityGoal>(&options.limit); goal != nullptr) {
    budget.set_requested(absl::StrCat(goal->text, " zeros"));
    // Zeros were asked for, so the budget is what they and the comparison take.
    int64_t bytes = problem.TotalBytes(findings.assignment);
    if (findings.held_out.has_value() && findings.held_out->uniform.has_value()) {
      bytes = std::max(bytes, findings.held_out->uniform->size_bytes);
    }
    budget.set_bytes(bytes);
    return budget;
  }
  budget.set_requested(std::get<Budget>(options.limit).text);
  budget.set_bytes(problem.MaxBytes());
  const BudgetSplit& split = *findings.budget;
  if (split.counts == BudgetFor::kWeights) return budget;
  budget.set_counts(BudgetForName(split.counts));
  budget.set_total_bytes(split.total_bytes);
  budget.set_file_overhead_bytes(split.file_overhead);
  budget.set_kv_cache_bytes(split.kv_bytes);
  budget.set_compute_bytes(split.compute_bytes);
  budget.set_context(split.run.context);
  if (split.run.context > 0) budget.set_kv_type(split.run.kv);
  return budget;
}

plans::Options OptionsOf(const PlanOptions& options,
                         const ProbeMaker* maker,
                         const PlanFindings& findings) {
  const WorkspaceOptions& workspace = options.workspace;
  plans::Options recorded;
  recorded.set_search(options.search);
  if (NeedsOf(options).layer_order == MethodNeeds::LayerOrder::kScored) {
    recorded.set_scorer(options.scorer);
  }
  recorded.set_exhaustive(options.exhaustive);
  recorded.set_objective(StatisticName(options.objective));
  recorded.set_encoder(workspace.encoder);
  if (workspace.pruning != Pruning::kMagnitude)
    recorded.set_pruning(PruningName(workspace.pruning));
  recorded.set_activations(ActivationsName(workspace.activations));
  recorded.set_seed(workspace.probes.seed);
  if (options.constraints.target != nullptr) {
    recorded.set_target(std::string(options.constraints.target->name()));
  }
  plans::SearchMethod method;
  if (options.search == "beam") {
    method.set_beam_width(options.beam_width);
    method.set_order(MeritKindName(options.order));
  }
  if (NeedsOf(options).output_errors && options.CostScorer() != nullptr) {
    method.set_costs(options.costs);
  }
  method.set_sparsity_permille(options.SparsityPermille());
  method.set_prunes_embeddings(options.prunes_embeddings);
  if (options.retraining.has_value()) {
    method.set_retrain_masked(options.retraining->masked);
    method.set_retrain_unmasked(options.retraining->unmasked);
  }
  if (method.ByteSizeLong() > 0) *recorded.mutable_method() = std::move(method);
  for (const Format& format : options.constraints.formats) recorded.add_formats(format.Name());
  for (const Constraints::Pin& pin : options.constraints.pins) recorded.add_pins(pin.text);
  for (const Constraints::MinBits& rule : options.constraints.min_bits) {
    recorded.add_min_bits(rule.text);
  }
  if (maker == nullptr) return recorded;  // nothing was run
  recorded.set_probe_source(ProbeSourceName(workspace.probes.source));
  recorded.set_probe_fingerprint(maker->fingerprint());
  recorded.set_prefix_tokens(maker->prefix_tokens());
  recorded.set_completion_tokens(maker->completion_tokens());
  recorded.set_search_probes(findings.search_probes);
  if (findings.held_out.has_value()) recorded.set_held_out_probes(findings.held_out->probes);
  return recorded;
}

plans::Search SearchOf(const Model& model, const SearchSummary& summary) {
  plans::Search search;
  search.set_candidates(summary.candidates);
  search.set_rounds(summary.rounds);
  search.set_computed(static_cast<int64_t>(summary.computed));
  search.set_naive(static_cast<int64_t>(summary.naive));
  if (!summary.note.empty()) search.set_note(summary.note);
  for (const TraceStep& step : summary.trace) {
    plans::TraceStep& proto = *search.add_trace();
    proto.set_what(step.what);
    for (const ComponentFormat& change : step.changes) {
      plans::Change& proto_change = *proto.add_changes();
      proto_change.set_component(model.component(change.component).name);
      proto_change.set_format(change.format.Name());
    }
    proto.set_size_bytes(step.size_bytes);
    proto.set_fdt_mean(step.fdt_mean);
    proto.set_dppl(step.dppl);
    proto.set_kl_mean(step.kl_mean);
    proto.set_text_kl(step.text_kl);
  }
  if (!summary.evaluation.empty()) {
    *search.mutable_search_probes() = ToProto(MetricsOf(summary.evaluation));
  }
  return search;
}

// What the choices of a component cost: every one that was measured alone and, of a scorer of
// formats, what it estimates for all of them.
void AddEvidence(const Component& component,
                 const PlanOptions& options,
                 const SearchProblem& problem,
                 const PlanFindings& findings,
                 ComponentId id,
                 plans::Component* planned) {
  std::map<Format, double> alone;
  for (const AloneDivergence& measured : findings.search.alone) {
    if (measured.change.component == id) alone[measured.change.format] = measured.kl_mean;
  }
  const bool estimated = !findings.errors.empty() && options.CostScorer() != nullptr;
  const std::vector<Choice>& ladder = problem.ladders[problem.UnitOf(id)];
  for (size_t i = 0; i < ladder.size(); ++i) {
    const Format& format = ladder[i].format;
    const auto measured = alone.find(format);
    if (measured == alone.end() && (!estimated || ladder.size() == 1)) continue;
    plans::FormatEvidence& evidence = *planned->add_evidence();
    evidence.set_format(format.Name());
    evidence.set_size_bytes(SizeBytes(format, component.rows, component.cols));
    if (measured != alone.end()) evidence.set_kl_mean(measured->second);
    if (estimated) {
      evidence.set_estimate(findings.errors[id][i]);
    } else if (!findings.errors.empty()) {
      evidence.set_output_error(findings.errors[id][i]);
    }
  }
}

plans::Component ComponentOf(const Model& model,
                             const PlanOptions& options,
                             const SearchProblem& problem,
                             const PlanFindings& findings,
                             ComponentId id) {
  const Component& component = model.component(id);
  const Format& format = findings.assignment[id];
  plans::Component planned;
  planned.set_name(component.name);
  planned.set_kind(ComponentKindName(component.kind));
  planned.set_layer(component.layer);
  planned.set_rows(component.rows);
  planned.set_cols(component.cols);
  planned.set_format(format.Name());
  if (format != model.Weight(id).format) planned.set_encoder(options.workspace.encoder);
  planned.set_size_bytes(SizeBytes(format, component.rows, component.cols));
  AddEvidence(component, options, problem, findings, id, &planned);
  if (!findings.encoding_sha256.empty() && !findings.encoding_sha256[id].empty()) {
    planned.set_encoding_sha256(findings.encoding_sha256[id]);
  }
  return planned;
}

plans::HeldOut HeldOutOf(const HeldOutComparison& comparison) {
  plans::HeldOut held_out;
  *held_out.mutable_plan() = ToProto(comparison.found);
  *held_out.mutable_noise_floor() = ToProto(comparison.noise_floor);
  if (comparison.uniform.has_value()) {
    const HeldOutComparison::Uniform& uniform = *comparison.uniform;
    held_out.set_uniform_format(uniform.format.Name());
    held_out.set_uniform_size_bytes(uniform.size_bytes);
    *held_out.mutable_uniform() = ToProto(uniform.metrics);
    *held_out.mutable_fdt_difference() = ToProto(uniform.fdt_difference);
    *held_out.mutable_kl_difference() = ToProto(uniform.kl_difference);
    if (uniform.text.has_value()) {
      *held_out.mutable_uniform_text() = ToProto(*uniform.text);
      *held_out.mutable_text_kl_difference() = ToProto(uniform.text_kl_difference);
    }
  }
  if (comparison.text_divergence.has_value()) {
    *held_out.mutable_plan_text() = ToProto(*comparison.text_divergence);
  }
  held_out.set_uniform_emitted(comparison.uniform_emitted);
  if (!comparison.text.has_value()) return held_out;
  plans::TextPerplexity& text = *held_out.mutable_text();
  text.set_reference(comparison.text->reference.value);
  *text.mutable_reference_interval() = ToProto(comparison.text->reference.interval);
  text.set_plan(comparison.text->candidate.value);
  *text.mutable_plan_interval() = ToProto(comparison.text->candidate.interval);
  if (comparison.text->uniform.has_value()) {
    text.set_uniform(comparison.text->uniform->value);
    *text.mutable_uniform_interval() = ToProto(comparison.text->uniform->interval);
  }
  return held_out;
}

// What the encoder learned, for whoever encodes the weights again.
void AddCalibration(const EncoderCalibration& calibration,
                    const PlanOptions& options,
                    const ProbeMaker* maker,
                    const Model& model,
                    plans::Plan* plan) {
  for (const auto& [id, values] : calibration.moments) {
    plans::InputMoments* stored = plan->add_input_moments();
    stored->set_component(model.component(id).name);
    stored->set_squares(values.data(), values.size() * sizeof(float));
  }
  if (calibration.sequences == 0) return;
  plans::Calibration& record = *plan->mutable_calibration();
  record.set_source(ProbeSourceName(options.workspace.probes.source));
  record.set_fingerprint(maker->fingerprint());
  record.set_sequences(calibration.sequences);
  record.set_tokens(calibration.tokens);
}

}  // namespace

plans::Plan ToPlan(const Model& model,
                   const PlanOptions& options,
                   const ProbeMaker* maker,
                   const SearchProblem& problem,
                   const PlanFindings& findings) {
  plans::Plan plan;
  plan.set_format_version(kPlanFormatVersion);
  plan.set_tool_version(BITBUDGET_VERSION);
  *plan.mutable_model() = ModelInfoOf(model);
  *plan.mutable_budget() = BudgetOf(options, problem, findings);
  *plan.mutable_options() = OptionsOf(options, maker, findings);
  for (ComponentId id = 0; id < static_cast<ComponentId>(findings.assignment.size()); ++id) {
    *plan.add_components() = ComponentOf(model, options, problem, findings, id);
  }
  *plan.mutable_search() = SearchOf(model, findings.search);
  if (findings.held_out.has_value()) *plan.mutable_held_out() = HeldOutOf(*findings.held_out);
  plan.set_complete(findings.held_out.has_value() || maker == nullptr);
  if (findings.recovery.has_value()) *plan.mutable_recovery() = *findings.recovery;
  AddCalibration(findings.calibration, options, maker, model, &plan);
  return plan;
}

std::vector<IdentityField> RunIdentity(const Model& model,
                                       const WorkspaceOptions& options,
                                       const ProbeMaker& maker) {
  std::vector<IdentityField> identity = {
      {"evaluation version", absl::StrCat(BITBUDGET_VERSION, "/", kEvaluationVersion)},
      {"model fingerprint", model.Fingerprint()},
      {"encoder", options.encoder},
      {"activations", ActivationsName(options.activations)},
      {"probe source", ProbeSourceName(options.probes.source)},
      {"probe text", maker.fingerprint()},
      {"prefix length", absl::StrCat(maker.prefix_tokens())},
      {"completion length", absl::StrCat(maker.completion_tokens())},
      {"seed", absl::StrCat(options.probes.seed)},
      {"first token",
       model.config().bos_token_id.has_value() ? absl::StrCat(*model.config().bos_token_id)
                                               : "none"},
      {"end tokens", absl::StrJoin(model.config().eos_token_ids, ",")}};
  if (options.pruning != Pruning::kMagnitude) {
    identity.push_back({"pruning", PruningName(options.pruning)});
  }
  return identity;
}

std::string JobText(const PlanOptions& options) {
  std::string text;
  const auto add = [&](absl::string_view name, const auto& value) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", value);
  };
  if (const Budget* budget = std::get_if<Budget>(&options.limit); budget != nullptr) {
    add("budget", budget->text);
    const absl::StatusOr<BudgetFor> counts =
        BudgetCounts(*budget, options.budget_scope, options.constraints.target);
    if (counts.ok() && *counts != BudgetFor::kWeights) add("for", BudgetForName(*counts));
  } else {
    add("sparsity", std::get<SparsityGoal>(options.limit).text);
  }
  if (options.budget_scope.context.has_value()) {
    add("context", *options.budget_scope.context);
    add("kv", options.budget_scope.kv);
  }
  add("search", options.search);
  add("objective", StatisticName(options.objective));
  if (NeedsOf(options).layer_order == MethodNeeds::LayerOrder::kScored) {
    add("scorer", options.scorer);
  }
  if (options.costs != PlanOptions::kOutputError) add("costs", options.costs);
  if (options.search == "beam") {
    add("beam width", options.beam_width);
    add("order", MeritKindName(options.order));
  }
  if (options.prunes_embeddings) absl::StrAppend(&text, ", embeddings pruned");
  if (options.retraining.has_value()) {
    add("retrained", absl::StrCat(options.retraining->masked, "+", options.retraining->unmasked));
  }
  if (options.constraints.target != nullptr) add("target", options.constraints.target->name());
  if (!options.constraints.formats.empty()) {
    add("formats",
        absl::StrJoin(options.constraints.formats, ",", [](std::string* out, const Format& format) {
          absl::StrAppend(out, format.Name());
        }));
  }
  for (const Constraints::Pin& pin : options.constraints.pins) add("pin", pin.text);
  for (const Constraints::MinBits& rule : options.constraints.min_bits) add("min bits", rule.text);
  add("probes", options.search_probes);
  add("held-out probes", options.held_out_probes);
  return text;
}

plans::Interval ToProto(const Interval& interval) {
  plans::Interval proto;
  proto.set_low(interval.low);
  proto.set_high(interval.high);
  return proto;
}

Interval FromProto(const plans::Interval& interval) { return {interval.low(), interval.high()}; }

plans::TextDivergence ToProto(const TextDivergence& text) {
  plans::TextDivergence proto;
  proto.set_kl_mean(text.kl.value);
  *proto.mutable_kl_interval() = ToProto(text.kl.interval);
  proto.set_top1_agreement(text.top1.value);
  *proto.mutable_top1_interval() = ToProto(text.top1.interval);
  if (text.kl_999.has_value()) {
    proto.set_kl_999(text.kl_999->value);
    *proto.mutable_kl_999_interval() = ToProto(text.kl_999->interval);
  }
  return proto;
}

TextDivergence FromProto(const plans::TextDivergence& text) {
  TextDivergence divergence = {{text.kl_mean(), FromProto(text.kl_interval())},
                               {text.top1_agreement(), FromProto(text.top1_interval())}};
  if (text.has_kl_999()) divergence.kl_999 = {text.kl_999(), FromProto(text.kl_999_interval())};
  return divergence;
}

plans::Metrics ToProto(const Metrics& metrics) {
  plans::Metrics proto;
  proto.set_fdt_mean(metrics.fdt_mean.value);
  *proto.mutable_fdt_interval() = ToProto(metrics.fdt_mean.interval);
  proto.set_fdt_75(metrics.fdt_75.value);
  *proto.mutable_fdt_75_interval() = ToProto(metrics.fdt_75.interval);
  proto.set_sdt_mean(metrics.sdt_mean.value);
  *proto.mutable_sdt_interval() = ToProto(metrics.sdt_mean.interval);
  proto.set_dppl(metrics.dppl.value);
  *proto.mutable_dppl_interval() = ToProto(metrics.dppl.interval);
  proto.set_kl_mean(metrics.kl_mean.value);
  *proto.mutable_kl_interval() = ToProto(metrics.kl_mean.interval);
  proto.set_top1_agreement(metrics.top1.value);
  *proto.mutable_top1_interval() = ToProto(metrics.top1.interval);
  return proto;
}

Metrics FromProto(const plans::Metrics& metrics) {
  return {{metrics.fdt_mean(), FromProto(metrics.fdt_interval())},
          {metrics.fdt_75(), FromProto(metrics.fdt_75_interval())},
          {metrics.sdt_mean(), FromProto(metrics.sdt_interval())},
          {metrics.dppl(), FromProto(metrics.dppl_interval())},
          {metrics.kl_mean(), FromProto(metrics.kl_interval())},
          {metrics.top1_agreement(), FromProto(metrics.top1_interval())}};
}

}  // namespace bitbudget
