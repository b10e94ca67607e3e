#include "planner/jobs/apply_job.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "planner/output/gguf_output.h"
#include "planner/workspace/workspace.h"
#include "plans/evidence.h"
#include "plans/plan_io.h"
#include "plans/targets/target.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoder.h"

namespace bitbudget {
namespace {

// The methods of all passes, "blockwise, scales".
std::string MethodsOf(const plans::Recovery& recovery) {
  std::string methods;
  for (const plans::RecoveryPass& pass : recovery.passes()) {
    for (const plans::RecoveryStep& step : pass.steps()) {
      absl::StrAppend(&methods, methods.empty() ? "" : ", ", step.method());
    }
  }
  return methods;
}

// Where the file comes from, for its readers.
GgufOutput::Provenance ProvenanceOf(const plans::Plan& plan, double bits_per_weight) {
  Sha256 hash;
  hash.Update(SerializePlan(plan));
  const plans::Options& options = plan.options();
  GgufOutput::Provenance provenance = {
      {kGgufToolKey, absl::StrCat("bitbudget ", plan.tool_version())},
      {"quantize.plan.sha256", hash.Finish()},
      {"quantize.plan.model", plan.model().fingerprint()},
      {"quantize.plan.budget", plan.budget().requested()},
      {"quantize.plan.bits_per_weight",
       absl::StrCat(bits_per_weight,
                    " (bytes of all weights x 8 / number of weights: norms, biases, embedding and "
                    "head included, tied weights once)")},
      {"quantize.plan.search",
       absl::StrCat(options.search(),
                    " by ",
                    options.objective(),
                    ", encoder ",
                    options.encoder(),
                    ", ",
                    options.search_probes(),
                    " probes from ",
                    options.probe_source(),
                    ", seed ",
                    options.seed())}};
  if (plan.has_recovery()) {
    provenance.emplace_back("quantize.plan.recovery", MethodsOf(plan.recovery()));
  }
  if (const plans::Metrics* metrics = HeldOutMetrics(plan); metrics != nullptr) {
    provenance.emplace_back("quantize.plan.held_out",
                            absl::StrCat("KL ",
                                         metrics->kl_mean(),
                                         " nats per token, top-1 agreement ",
                                         metrics->top1_agreement(),
                                         ", mean first divergent token ",
                                         metrics->fdt_mean()));
  }
  return provenance;
}

// What config.json says of packed weights, as their target has it. Errors: what the target cannot
// hold.
absl::StatusOr<std::string> ConfigEntries(const plans::Plan& plan,
                                          FolderOutputOptions::Weights weights) {
  if (weights == FolderOutputOptions::Weights::kDequantized) return "";
  const bool mlx = weights == FolderOutputOptions::Weights::kMlx;
  BB_ASSIGN_OR_RETURN(const TargetProfile* target, FindTarget(mlx ? "mlx" : "compressed-tensors"));
  BB_ASSIGN_OR_RETURN(const Export config, target->ExportPlan(plan, "config.json"));
  const std::string& contents = config.files.front().contents;
  return mlx ? contents : absl::StrCat("{\"quantization_config\": ", contents, "}");
}

int64_t FolderBytes(const std::string& folder) {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<ApplySummary> ApplyPlan(const Model& model,
                                       const plans::Plan& plan,
                                       const ApplyOptions& options,
                                       Progress* progress) {
  BB_ASSIGN_OR_RETURN(const Assignment assignment, AssignmentOfPlan(plan, model));
  for (size_t c = 0; c < assignment.size(); ++c) {
    if (!assignment[c].layer_norm) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(model.component(static_cast<ComponentId>(c)).name,
                     " in ",
                     assignment[c].Name(),
                     ": its outputs are normalised, which no file of weights can say"));
  }
  BB_ASSIGN_OR_RETURN(
      const PlannedModel planned,
      OpenPlannedModel(
          model, &plan, options.workspace, /*context=*/1, options.calibration, progress));
  const WeightEncoder& weights = planned.workspace->weight_encoder();
  const RecoveredEncoder& recovered = planned.workspace->recovered();
  const int threads = options.workspace.threads;
  ApplySummary summary;
  summary.weight_bytes = AssignmentBytes(assignment, model);
  summary.bits_per_weight = BitsPerWeight(summary.weight_bytes, model);

  if (absl::EndsWith(options.out, ".gguf")) {
    if (options.weights != FolderOutputOptions::Weights::kDequantized ||
        options.float_type.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          options.out, ": a GGUF file holds the plan's formats; other weights are for folders"));
    }
    BB_ASSIGN_OR_RETURN(
        const GgufOutput output,
        GgufOutput::Create(
            model, assignment, ProvenanceOf(plan, summary.bits_per_weight), recovered.vectors()));
    BB_RETURN_IF_ERROR(output.Write(options.out, weights, threads, progress));
    summary.file_bytes = output.FileBytes();
    return summary;
  }
  FolderOutputOptions folder;
  folder.float_type = options.float_type;
  folder.weights = options.weights;
  folder.vectors = CheckpointVectors(model.config(), recovered.vectors());
  BB_ASSIGN_OR_RETURN(folder.config_entries, ConfigEntries(plan, options.weights));
  BB_RETURN_IF_ERROR(
      WriteModelFolder({model, assignment, weights, threads}, folder, options.out, progress));
  summary.file_bytes = FolderBytes(options.out);
  return summary;
}

}  // namespace bitbudget
