#include "planner/workspace/setup.h"

#include <algorithm>

#include "runtime/base/status_macros.h"
#include "runtime/eval/reference.h"
#include "runtime/quantize/encoders.h"
#include "scoring/fisher.h"
#include "scoring/token_weights.h"

namespace bitbudget {

absl::StatusOr<ProbedWorkspace> SetUpWorkspace(const Model& model,
                                               const WorkspaceOptions& options,
                                               const WorkspaceNeeds& needs) {
  ProbedWorkspace ready;
  BB_ASSIGN_OR_RETURN(ready.maker, ProbeMaker::Create(model, options.probes));
  for (const ProbeRole role : needs.roles) BB_RETURN_IF_ERROR(ready.maker->CheckRole(role));
  MemoryRequest request;
  request.search_probes = needs.search_probes * needs.evaluators;
  request.held_out_probes = needs.held_out_probes;
  request.calibration_probes = needs.calibration_probes;
  request.gradient_probes = needs.gradient_probes;
  request.gradient_formats = needs.gradient_formats;
  if (options.pruning == Pruning::kFisher) {
    request.gradient_probes = std::max(request.gradient_probes, kFisherSequences);
  }
  const absl::StatusOr<const EncoderInfo*> encoder = FindEncoder(options.encoder);
  request.grams = encoder.ok() && (*encoder)->needs == StatsNeed::kGram;
  if (encoder.ok() && (*encoder)->weighs_tokens) {
    const int64_t tokens = kTokenWeightBatch + ready.maker->context();
    const int64_t window = ready.maker->window_tokens();
    request.gradient_probes = std::max(request.gradient_probes, (tokens + window - 1) / window);
  }
  request.context = std::max(ready.maker->context(), needs.min_context);
  request.compared =
      std::max(ready.maker->completion_tokens(), request.context - kTextPromptTokens);
  request.window = std::max(ready.maker->window_tokens(), ready.maker->context());
  request.fdt_only = needs.fdt_only;
  request.threads = options.threads;
  BB_ASSIGN_OR_RETURN(ready.memory, PlanMemory(model, request, options.memory_bytes));
  MemoryPlan shares = ready.memory;
  shares.states /= needs.evaluators;
  BB_ASSIGN_OR_RETURN(ready.workspace, Workspace::Create(model, options, request.context, shares));
  return ready;
}

}  // namespace bitbudget
