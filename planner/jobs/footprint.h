#ifndef BITBUDGET_PLANNER_JOBS_FOOTPRINT_H_
#define BITBUDGET_PLANNER_JOBS_FOOTPRINT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/workspace/budget.h"
#include "plans/targets/target.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What a budget pays for.
enum class BudgetFor : uint8_t {
  kWeights,  // the weights alone
  kFile,     // a GGUF file: weights and everything beside them
  kMemory,   // running it: the file, keys and values of a whole context, run-time buffers
};
const char* BudgetForName(BudgetFor what);  // "weights", "file", "memory"

// What decides how much memory a model takes where it runs.
struct RunSettings {
  int64_t context = 0;     // positions
  std::string kv = "f16";  // the format of keys and values: f16 or q8_0
};

// The bytes of the keys and values of `context` positions, as llama.cpp allocates them:
//   2 * kv_heads * head_dim * positions * bytes per value, summed over the layers
// positions: the context rounded up to 256; in layers with a sliding window at most the window and
// a batch of 512, rounded up likewise. Bytes per value: 2 (f16) or 34/32 (q8_0).
// kInvalidArgument: an unknown type, heads that are not whole q8_0 blocks, no positive context.
absl::StatusOr<int64_t> KvBytes(const ModelConfig& config, const RunSettings& settings);

// An estimate of the run-time buffers of llama.cpp with flash attention, for a batch of 512
// positions (or the context, when it is shorter): the larger of what lives at once at the head and
// in a layer,
//   head:  batch * (vocabulary + 2 * hidden) in f32
//   layer: batch * (4 * intermediate + hidden) in f32 and the attention mask, batch * positions in
//          f16 (of layers with a sliding window another, as long as their positions)
// and 64 KiB. Fitted to llama.cpp 0.5.0 on a CPU, which it meets within 2 %
// (tests/peer/targets_peer_test.py); other backends and versions differ somewhat.
int64_t ComputeBytes(const ModelConfig& config, const RunSettings& settings);

// An upper bound on what a GGUF file of the model takes beside its planned weights: metadata,
// tokenizer, vectors that become f32, padding, provenance. Errors: those of GgufOutput::Create.
absl::StatusOr<int64_t> GgufOverheadBytes(const Model& model);

// A budget, divided into what it pays for, in bytes.
struct BudgetSplit {
  BudgetFor counts = BudgetFor::kWeights;
  int64_t total_bytes = 0;    // the budget
  int64_t weight_bytes = 0;   // left for the weights: the search's limit
  int64_t file_overhead = 0;  // GgufOverheadBytes
  int64_t kv_bytes = 0;
  int64_t compute_bytes = 0;
  RunSettings run;  // with kMemory
};

// What the user says a budget pays for.
struct BudgetScope {
  // Unset: memory with a context, else file for a size and a target that makes a GGUF file, else
  // weights.
  std::optional<BudgetFor> counts;
  std::optional<int64_t> context;
  std::string kv = "f16";
};
// "weights", "file" or "memory". kInvalidArgument names any other text.
absl::StatusOr<BudgetFor> ParseBudgetFor(const std::string& text);

// What the budget pays for; `target` may be null. kInvalidArgument says what does not go together.
absl::StatusOr<BudgetFor> BudgetCounts(const Budget& budget,
                                       const BudgetScope& scope,
                                       const TargetProfile* target);

// Errors: those of the functions above; IsInfeasible() when nothing is left for the weights.
absl::StatusOr<BudgetSplit> SplitBudget(const Model& model,
                                        const Budget& budget,
                                        const BudgetScope& scope,
                                        const TargetProfile* target);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_FOOTPRINT_H_
