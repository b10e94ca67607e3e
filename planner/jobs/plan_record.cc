#include "planner/jobs/plan_record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "planner/runs/measure.h"
#include "planner/workspace/checked_encoder.h"
#include "plans/plan_io.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

void DescribeJob(const Model& model,
                 const PlanOptions& options,
                 const SearchProblem& problem,
                 const BudgetSplit& budget,
                 const ProbeMaker& maker,
                 plans::Plan* plan) {
  plan->set_format_version(kPlanFormatVersion);
  plan->set_tool_version(BITBUDGET_VERSION);
  plans::ModelInfo& info = *plan->mutable_model();
  info.set_architecture(model.config().architecture_name);
  info.set_fingerprint(model.Fingerprint());
  info.set_parameter_count(model.parameter_count());
  info.set_stored_bytes(model.stored_bytes());
  info.set_fixed_bytes(model.fixed_bytes());
  plan->mutable_budget()->set_requested(options.budget.text);
  plan->mutable_budget()->set_bytes(problem.MaxBytes());
  if (budget.counts != BudgetFor::kWeights) {
    plans::Budget& split = *plan->mutable_budget();
    split.set_counts(BudgetForName(budget.counts));
    split.set_total_bytes(budget.total_bytes);
    split.set_file_overhead_bytes(budget.file_overhead);
    split.set_kv_cache_bytes(budget.kv_bytes);
    split.set_compute_bytes(budget.compute_bytes);
    split.set_context(budget.run.context);
    if (budget.run.context > 0) split.set_kv_type(budget.run.kv);
  }

  plans::Options& recorded = *plan->mutable_options();
  recorded.set_search(options.search);
  if (options.search == "layerwise") recorded.set_scorer(options.scorer);
  recorded.set_exhaustive(options.exhaustive);
  recorded.set_objective(StatisticName(options.objective));
  recorded.set_encoder(options.encoder);
  if (options.pruning == Pruning::kWanda) recorded.set_pruning(PruningName(options.pruning));
  recorded.set_activations(ActivationsName(options.activations));
  recorded.set_seed(options.probes.seed);
  if (options.constraints.target != nullptr) {
    recorded.set_target(std::string(options.constraints.target->name()));
  }
  plans::SearchMethod method;
  if (options.search == "beam") {
    method.set_beam_width(options.beam_width);
    method.set_order(MeritKindName(options.order));
  }
  method.set_sparsity_permille(options.sparsity_permille);
  method.set_prunes_embeddings(options.prunes_embeddings);
  if (method.ByteSizeLong() > 0) *recorded.mutable_method() = std::move(method);
  for (const Format& format : options.constraints.formats) recorded.add_formats(format.Name());
  for (const std::string& pin : options.pin_texts) recorded.add_pins(pin);
  for (const std::string& rule : options.min_bits_texts) recorded.add_min_bits(rule);
  recorded.set_probe_source(ProbeSourceName(options.probes.source));
  recorded.set_probe_fingerprint(maker.fingerprint());
  recorded.set_prefix_tokens(maker.prefix_tokens());
  recorded.set_completion_tokens(maker.completion_tokens());
}

void DescribeSearch(const Model& model, const SearchSummary& summary, plans::Plan* plan) {
  plans::Search& search = *plan->mutable_search();
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
  }
  if (!summary.evaluation.empty()) {
    *search.mutable_search_probes() = MetricsOf(summary.evaluation);
  }
}

void DescribeComponents(const EncodingBank& bank,
                        const SearchProblem& problem,
                        const Assignment& assignment,
                        const SearchSummary& summary,
                        const CostTable& errors,
                        plans::Plan* plan) {
  for (size_t c = 0; c < assignment.size(); ++c) {
    const Component& component = bank.model().components()[c];
    const ComponentId id = static_cast<ComponentId>(c);
    plans::Component& proto = *plan->add_components();
    proto.set_name(component.name);
    proto.set_kind(ComponentKindName(component.kind));
    proto.set_layer(component.layer);
    proto.set_rows(component.rows);
    proto.set_cols(component.cols);
    proto.set_format(assignment[c].Name());
    const bool unchanged = assignment[c] == bank.StoredFormat(id);
    if (!unchanged) proto.set_encoder(plan->options().encoder());
    proto.set_size_bytes(SizeBytes(assignment[c], component.rows, component.cols));
    for (const AloneDivergence& alone : summary.alone) {
      if (alone.change.component != id) continue;
      plans::FormatEvidence& evidence = *proto.add_evidence();
      evidence.set_format(alone.change.format.Name());
      evidence.set_size_bytes(SizeBytes(alone.change.format, component.rows, component.cols));
      evidence.set_kl_mean(alone.kl_mean);
      if (!errors.empty()) {
        evidence.set_output_error(
            errors[c][problem.IndexOf(problem.UnitOf(id), alone.change.format)]);
      }
    }
  }
}

absl::Status RecordEncodings(const Assignment& assignment, EncodingBank* bank, plans::Plan* plan) {
  for (size_t c = 0; c < assignment.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (assignment[c] == bank->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(const Encoding encoding, bank->Encoded({id, assignment[c]}));
    plan->mutable_components(static_cast<int>(c))->set_encoding_sha256(EncodingSha256(encoding));
  }
  return absl::OkStatus();
}

std::vector<IdentityField> RunIdentity(const plans::Plan& plan) {
  const plans::Options& options = plan.options();
  std::vector<IdentityField> identity = {
      {"evaluation version", absl::StrCat(BITBUDGET_VERSION, "/", kEvaluationVersion)},
      {"model fingerprint", plan.model().fingerprint()},
      {"encoder", options.encoder()},
      {"activations", options.activations()},
      {"probe source", options.probe_source()},
      {"probe text", options.probe_fingerprint()},
      {"prefix length", absl::StrCat(options.prefix_tokens())},
      {"completion length", absl::StrCat(options.completion_tokens())},
      {"seed", absl::StrCat(options.seed())}};
  if (!options.pruning().empty()) identity.push_back({"pruning", options.pruning()});
  return identity;
}

std::string JobText(const plans::Plan& plan, const PlanOptions& asked) {
  const plans::Options& options = plan.options();
  std::string text = absl::StrCat("--budget ", plan.budget().requested());
  if (!plan.budget().counts().empty()) {
    absl::StrAppend(&text, " --budget-for ", plan.budget().counts());
  }
  if (plan.budget().context() > 0) {
    absl::StrAppend(
        &text, " --context ", plan.budget().context(), " --kv ", plan.budget().kv_type());
  }
  absl::StrAppend(&text, " --search ", options.search(), " --objective ", options.objective());
  if (!options.scorer().empty()) absl::StrAppend(&text, " --scorer ", options.scorer());
  if (!options.method().order().empty()) {
    absl::StrAppend(&text,
                    " --beam-width ",
                    options.method().beam_width(),
                    " --order ",
                    options.method().order());
  }
  if (options.method().prunes_embeddings()) absl::StrAppend(&text, " --prune-embeddings");
  if (!options.target().empty()) absl::StrAppend(&text, " --target ", options.target());
  if (!options.formats().empty()) {
    absl::StrAppend(&text, " --formats ", absl::StrJoin(options.formats(), ","));
  }
  for (const std::string& pin : options.pins()) absl::StrAppend(&text, " --pin ", pin);
  for (const std::string& rule : options.min_bits()) {
    absl::StrAppend(&text, " --min-bits ", rule);
  }
  absl::StrAppend(
      &text, " --probes ", asked.search_probes, " --held-out-probes ", asked.held_out_probes);
  return text;
}

}  // namespace bitbudget
