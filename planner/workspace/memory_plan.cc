#include "planner/workspace/memory_plan.h"

#include <algorithm>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/workspace/budget.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/layout.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/quantize/gram_factors.h"
#include "scoring/gradient_pass.h"

namespace bitbudget {
namespace {

constexpr int64_t kFloat = sizeof(float);
// The program, its libraries and small objects.
constexpr int64_t kProgramBytes = int64_t{48} << 20;
// Passes whose scratch memory is alive at the same time: the evaluators of search and held-out
// probes, and what runs beside them (completions, perplexity).
constexpr int64_t kRunners = 3;
constexpr int64_t kSmallestLimit = int64_t{256} << 20;

std::string GiB(int64_t bytes) {
  return absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// In f32 panels, the largest kind.
int64_t PanelBytes(const Component& component) {
  return RoundUp(component.rows, kPanelWidth) * RoundUp(component.cols, kInputPad) * kFloat;
}

// What one thread needs for a batch (TransformerWorkspace, ForwardScratch).
int64_t ScratchBytes(const ModelConfig& config, int64_t probe_rows) {
  const int64_t rows = RoundUp(kBatchRows + probe_rows, kTileRows);
  const int64_t widest = std::max(config.intermediate_size, config.q_size());
  // normed, delta; q, context; k, v; gate, up; packed activations in f32 and int16; keys and values
  // of a sequence.
  const int64_t per_row = 2 * config.hidden_size + 2 * config.q_size() + 4 * config.kv_size() +
                          2 * config.intermediate_size + 2 * widest;
  return kFloat * (rows * per_row + 2 * kLogitRows * config.vocab_size);
}

// The least that a job needs, and what it could use.
struct Needs {
  MemoryPlan least;
  int64_t weights = 0;
  int64_t states = 0;
  int64_t logits = 0;
};

Needs NeedsOf(const Model& model, const MemoryRequest& request) {
  const ModelConfig& config = model.config();
  const int64_t rows = request.context - 1;
  const int64_t row_bytes = config.hidden_size * kFloat;
  const int64_t probes = request.search_probes + request.held_out_probes;
  const int64_t most_probes =
      std::max({request.search_probes, request.held_out_probes, request.calibration_probes});
  const int stages = NumStages(config);

  Needs needs;
  MemoryPlan& least = needs.least;
  least.fixed = kProgramBytes + config.vocab_size * 64 + request.context * config.head_dim * kFloat;
  if (request.fdt_only) {  // codes of a byte with a scale per 128 inputs, and norms
    least.fixed += config.vocab_size * (RoundUp(config.hidden_size, 128) * 33 / 32 + 16);
  }
  least.scratch = kRunners * request.threads * ScratchBytes(config, rows);
  // The pass over each set keeps its stream; the final stream ahead of the head may be kept for the
  // reference. A score keeps three of its own, before there is any other.
  least.streams = std::max(
      probes * (rows + request.compared) * row_bytes,
      3 * request.calibration_probes * rows * row_bytes + probes * request.compared * row_bytes);
  if (request.gradient_probes > 0) {
    const int64_t positions = request.gradient_probes * request.window;
    least.streams =
        std::max(least.streams,
                 GradientPassBytes(config, positions, request.window, request.gradient_formats));
  }

  int64_t largest_stage = 0;
  int64_t largest_component = 0;
  int64_t most_inputs = 0;
  for (int stage = 0; stage < stages; ++stage) {
    int64_t bytes = 0;
    for (const ComponentId id : StageComponents(stage, config)) {
      const Component& component = model.component(id);
      bytes += PanelBytes(component);
      largest_component = std::max(largest_component, component.rows * component.cols);
      most_inputs = std::max(most_inputs, component.cols);
    }
    // The head of the reference may be needed beside the candidate's.
    if (stage == stages - 1) bytes *= 2;
    largest_stage = std::max(largest_stage, bytes);
  }
  // Beside a stage's panels: encodings of at most a byte per weight that are being made or read
  // back, one on every thread, and what encoders share meanwhile.
  int64_t making = request.threads * largest_component;
  if (request.grams) making += GramFactors::PeakBytes(most_inputs);
  least.weights = largest_stage + making;
  needs.weights = making;
  for (const Component& component : model.components()) {
    // The panels of the reference and of an assignment, and encodings in many formats.
    needs.weights += 4 * PanelBytes(component);
  }
  const int64_t kv = KvCacheBytes(config, request.context);
  const int64_t stream = request.search_probes * rows * row_bytes;
  least.states = std::max(kv, stream);
  needs.states = std::max(kv * most_probes, stream * (stages - 1));
  needs.logits = most_probes * request.compared * config.vocab_size * kFloat;
  return needs;
}

int64_t Total(const MemoryPlan& plan) {
  return plan.fixed + plan.scratch + plan.streams + plan.weights + plan.states + 2 * plan.logits;
}

}  // namespace

std::string MemoryPlan::Describe() const {
  return absl::StrCat("memory: limit ",
                      GiB(limit),
                      ", estimated use ",
                      GiB(total),
                      " (weights ",
                      GiB(weights),
                      ", cached streams or keys and values ",
                      GiB(states),
                      ", reference logits ",
                      GiB(2 * logits),
                      ", running streams ",
                      GiB(streams),
                      ", scratch ",
                      GiB(scratch + fixed),
                      ")");
}

absl::StatusOr<MemoryPlan> PlanMemory(const Model& model,
                                      const MemoryRequest& request,
                                      int64_t limit) {
  const Needs needs = NeedsOf(model, request);
  const int64_t least = Total(needs.least);
  if (least > limit) {
    MemoryRequest few = request;
    few.search_probes = std::min<int64_t>(few.search_probes, 2);
    few.held_out_probes = std::min<int64_t>(few.held_out_probes, 2);
    few.calibration_probes = std::min<int64_t>(few.calibration_probes, 2);
    few.gradient_probes = std::min<int64_t>(few.gradient_probes, 2);
    const bool fewer_help = Total(NeedsOf(model, few).least) <= limit;
    return absl::ResourceExhaustedError(
        absl::StrCat("this job needs at least ",
                     GiB(least),
                     " of memory, but the limit is ",
                     GiB(limit),
                     "; ",
                     fewer_help ? "take fewer or shorter probes, allow" : "allow",
                     " more memory",
                     request.threads > 1 ? ", or use fewer threads" : ""));
  }
  MemoryPlan plan = needs.least;
  plan.limit = limit;
  int64_t left = limit - least;
  // Keeping logits saves a product with the head per evaluation and takes little; states save whole
  // stages of every candidate and passes over the weights; weights get the rest.
  if (needs.logits <= left / 8 / 2) plan.logits = needs.logits;  // of a set all or nothing
  left -= 2 * plan.logits;
  const int64_t more_states = std::min(std::max<int64_t>(needs.states - plan.states, 0), left / 2);
  plan.states += more_states;
  left -= more_states;
  const int64_t more_weights = std::min(std::max<int64_t>(needs.weights - plan.weights, 0), left);
  plan.weights += more_weights;
  left -= more_weights;
  // The states get what the weights cannot use.
  plan.states = std::min(std::max(needs.states, plan.states), plan.states + left);
  plan.total = Total(plan);
  return plan;
}

MemoryPlan UnplannedMemory() {
  MemoryPlan plan;
  plan.weights = int64_t{4} << 30;
  plan.states = int64_t{4} << 30;
  plan.logits = int64_t{1} << 30;
  return plan;
}

int64_t DefaultMemoryLimit() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  std::string unit;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return std::max(kib * 1024 / 4 * 3, kSmallestLimit);
  }
  return kSmallestLimit;
}

absl::StatusOr<int64_t> ParseMemory(absl::string_view text) {
  const absl::StatusOr<Budget> budget = ParseBudget(text);
  if (!budget.ok() || budget->unit != Budget::Unit::kBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory size '", text, "' is not understood; write 16GiB, 900MiB or 8GB"));
  }
  return budget->Bytes(/*parameter_count=*/0, /*stored_bytes=*/0);
}

}  // namespace bitbudget
