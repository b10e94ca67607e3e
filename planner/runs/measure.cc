#include "planner/runs/measure.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/eval/perplexity.h"

namespace bitbudget {

plans::Interval ToProto(const Interval& interval) {
  plans::Interval proto;
  proto.set_low(interval.low);
  proto.set_high(interval.high);
  return proto;
}

plans::Metrics MetricsOf(const Evaluation& evaluation) {
  plans::Metrics metrics;
  const auto interval = [&](Statistic statistic) {
    return ToProto(BootstrapInterval(statistic, evaluation));
  };
  metrics.set_fdt_mean(Compute(Statistic::kFdtMean, evaluation));
  *metrics.mutable_fdt_interval() = interval(Statistic::kFdtMean);
  metrics.set_fdt_75(Compute(Statistic::kFdt75, evaluation));
  *metrics.mutable_fdt_75_interval() = interval(Statistic::kFdt75);
  metrics.set_sdt_mean(Compute(Statistic::kSdtMean, evaluation));
  *metrics.mutable_sdt_interval() = interval(Statistic::kSdtMean);
  metrics.set_dppl(Compute(Statistic::kDppl, evaluation));
  *metrics.mutable_dppl_interval() = interval(Statistic::kDppl);
  metrics.set_kl_mean(Compute(Statistic::kKlMean, evaluation));
  *metrics.mutable_kl_interval() = interval(Statistic::kKlMean);
  metrics.set_top1_agreement(Top1Agreement(evaluation));
  return metrics;
}

absl::StatusOr<ProbeSet> MakeProbeSet(const ProbeMaker& maker,
                                      ProbeRole role,
                                      int64_t count,
                                      Workspace* workspace,
                                      Progress* progress,
                                      bool distributions) {
  BB_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> prompts,
                      maker.Prompts(role, count, workspace->sampler(), progress));
  return MakeProbeSet(prompts, maker.completion_tokens(), {}, workspace, progress, distributions);
}

absl::StatusOr<ProbeSet> MakeProbeSet(std::span<const std::vector<int32_t>> prompts,
                                      int64_t completion_tokens,
                                      std::vector<Generation> completions,
                                      Workspace* workspace,
                                      Progress* progress,
                                      bool distributions) {
  const int threads = workspace->options().threads;
  ReferenceOptions reference_options;
  reference_options.completion_tokens = completion_tokens;
  reference_options.threads = threads;
  reference_options.distributions = distributions;
  reference_options.max_kv_bytes = workspace->options().states_bytes;
  reference_options.max_logits_bytes = workspace->options().logits_bytes;
  reference_options.completions = std::move(completions);
  ProbeSet set;
  BB_ASSIGN_OR_RETURN(
      set.reference,
      ReferenceRun::Create(
          workspace->transformer(), workspace->reference(), prompts, reference_options, progress));
  EvaluatorOptions evaluator_options;
  evaluator_options.threads = threads;
  evaluator_options.max_cache_bytes = workspace->options().states_bytes;
  set.evaluator = std::make_unique<Evaluator>(
      workspace->transformer(), *set.reference, workspace->bank(), evaluator_options, progress);
  return set;
}

absl::Status MeasurePerplexity(const Workspace& workspace,
                               WeightSource* weights,
                               std::span<const std::vector<int32_t>> windows,
                               Progress* progress,
                               double* perplexity,
                               plans::Interval* interval) {
  BB_ASSIGN_OR_RETURN(
      const Evaluation likelihood,
      MeasureText(
          workspace.transformer(), weights, windows, workspace.options().threads, progress));
  *perplexity = Compute(Statistic::kDppl, likelihood);
  *interval = ToProto(BootstrapInterval(Statistic::kDppl, likelihood));
  return absl::OkStatus();
}

}  // namespace bitbudget
