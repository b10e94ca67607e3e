#include "planner/runs/measure.h"

#include <algorithm>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/eval/kl_tail.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

Measured MeasuredOf(Statistic statistic, const Evaluation& evaluation) {
  return {Compute(statistic, evaluation), BootstrapInterval(statistic, evaluation)};
}

Metrics MetricsOf(const Evaluation& evaluation) {
  return {MeasuredOf(Statistic::kFdtMean, evaluation),
          MeasuredOf(Statistic::kFdt75, evaluation),
          MeasuredOf(Statistic::kSdtMean, evaluation),
          MeasuredOf(Statistic::kDppl, evaluation),
          MeasuredOf(Statistic::kKlMean, evaluation),
          {Top1Agreement(Along::kCompletions, evaluation),
           Top1AgreementInterval(Along::kCompletions, evaluation)}};
}

std::optional<TextDivergence> TextDivergenceOf(const Evaluation& evaluation) {
  if (!HasText(evaluation)) return std::nullopt;
  return TextDivergence{
      MeasuredOf(Statistic::kTextKl, evaluation),
      {Top1Agreement(Along::kText, evaluation), Top1AgreementInterval(Along::kText, evaluation)},
      HasTextKls(evaluation)
          ? std::optional(Measured{TextKl999(evaluation), TextKl999Interval(evaluation)})
          : std::nullopt};
}

std::optional<TextPerplexity> TextPerplexityOf(const Evaluation& reference,
                                               const Evaluation& candidate) {
  if (!HasText(candidate)) return std::nullopt;
  return TextPerplexity{MeasuredOf(Statistic::kTextPpl, reference),
                        MeasuredOf(Statistic::kTextPpl, candidate),
                        std::nullopt};
}

absl::StatusOr<ProbeSet> MakeProbeSet(const ProbeMaker& maker,
                                      ProbeRole role,
                                      int64_t count,
                                      Workspace* workspace,
                                      Progress* progress,
                                      Distributions distributions) {
  BB_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> prompts,
                      maker.Prompts(role, count, workspace->sampler(), progress));
  return MakeProbeSet(prompts, maker.completion_tokens(), {}, workspace, progress, distributions);
}

absl::StatusOr<ProbeSet> MakeProbeSet(std::span<const std::vector<int32_t>> prompts,
                                      int64_t completion_tokens,
                                      std::vector<Generation> completions,
                                      Workspace* workspace,
                                      Progress* progress,
                                      Distributions distributions) {
  const int threads = workspace->options().threads;
  ReferenceOptions reference_options;
  reference_options.completion_tokens = completion_tokens;
  reference_options.threads = threads;
  reference_options.distributions = distributions == Distributions::kKeep;
  reference_options.max_kv_bytes = workspace->memory().states;
  reference_options.max_logits_bytes = workspace->memory().logits;
  reference_options.completions = std::move(completions);
  ProbeSet set;
  BB_ASSIGN_OR_RETURN(
      set.reference,
      ReferenceRun::Create(
          workspace->transformer(), workspace->reference(), prompts, reference_options, progress));
  EvaluatorOptions evaluator_options;
  evaluator_options.threads = threads;
  evaluator_options.max_cache_bytes = workspace->memory().states;
  set.evaluator = std::make_unique<Evaluator>(
      workspace->transformer(), *set.reference, workspace->bank(), evaluator_options, progress);
  return set;
}

absl::StatusOr<Evaluation> EvaluateStored(const Model& other,
                                          const ProbeSet& set,
                                          Workspace* workspace) {
  EncodingBank* const bank = workspace->bank();
  const Assignment stored = StoredAssignment(other);
  int64_t wanted = 0;
  for (ComponentId c = 0; c < static_cast<ComponentId>(stored.size()); ++c) {
    const Component& component = other.component(c);
    wanted +=
        bank->PanelBytes({c, stored[c]}) + SizeBytes(stored[c], component.rows, component.cols);
  }
  // The workspace's bank still gives the reference's head.
  const ComponentId head = workspace->model().head();
  const int64_t kept =
      set.reference->keeps_logits() ? 0 : bank->PanelBytes({head, bank->StoredFormat(head)});
  BB_ASSIGN_OR_RETURN(const int64_t lent, bank->Lend(wanted + kept));
  const std::unique_ptr<Encoder> copies = MakeRtnEncoder();  // of what is stored in the format
  const StatsWeightEncoder encoder(other, *copies);
  const BankOptions options{.activations = bank->activations(),
                            .max_bytes = std::max<int64_t>(0, lent - kept),
                            .spill_directory = workspace->options().spill_directory,
                            .is_candidate = true};
  EncodingBank others(other, encoder, options);
  AssignmentWeights weights = others.Weights(stored);
  return set.evaluator->EvaluateFromScratch(&weights, TokenKls::kKept);
}

std::vector<Generation> CompletionsOf(const ReferenceRun& reference) {
  std::vector<Generation> completions;
  for (const Probe& probe : reference.probes()) {
    completions.push_back(
        {{probe.tokens.begin() + probe.prompt, probe.tokens.end()}, probe.margins, probe.likely});
  }
  return completions;
}

}  // namespace bitbudget
