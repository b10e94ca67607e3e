#include "planner/jobs/footprint.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "planner/jobs/feasibility.h"
#include "planner/output/gguf_output.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// llama.cpp's default batch, in positions.
constexpr int64_t kBatch = 512;
// llama.cpp rounds the cells of a cache up to a multiple of this.
constexpr int64_t kCellMultiple = 256;
// Tokens, positions and other inputs of a batch, and what scheduling adds.
constexpr int64_t kInputBytes = 65536;
constexpr int64_t kMaxContext = int64_t{1} << 30;

// Tensors in a GGUF file are aligned to 32 bytes.
constexpr int64_t kMaxPadding = 31;
// What bitbudget writes about the plan into a file: about ten short texts.
constexpr int64_t kProvenanceBytes = 4096;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int64_t Positions(const ModelConfig& config, int64_t layer, int64_t context) {
  const int64_t all = RoundUp(context, kCellMultiple);
  const int64_t window = config.Window(layer);
  return window == 0 ? all : std::min(all, RoundUp(window + kBatch, kCellMultiple));
}

}  // namespace

const char* BudgetForName(BudgetFor what) {
  switch (what) {
    case BudgetFor::kWeights:
      return "weights";
    case BudgetFor::kFile:
      return "file";
    case BudgetFor::kMemory:
      return "memory";
  }
  return "?";
}

absl::StatusOr<int64_t> KvBytes(const ModelConfig& config, const RunSettings& settings) {
  if (settings.context < 1 || settings.context > kMaxContext) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the context is ", settings.context, " positions, must be 1 to ", kMaxContext));
  }
  if (settings.kv != "f16" && settings.kv != "q8_0") {
    return UnknownName("type of keys and values", settings.kv, {"f16", "q8_0"});
  }
  const Format format = *ParseFormat(settings.kv);
  if (!Fits(format, config.head_dim)) {
    return absl::InvalidArgumentError(absl::StrCat("keys and values in ",
                                                   settings.kv,
                                                   ": heads of ",
                                                   config.head_dim,
                                                   " are not whole blocks of ",
                                                   format.BlockSize()));
  }
  int64_t bytes = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    bytes += 2 * SizeBytes(format, Positions(config, layer, settings.context), config.kv_size());
  }
  return bytes;
}

int64_t ComputeBytes(const ModelConfig& config, const RunSettings& settings) {
  // One mask for all layers with full attention, one for all with a sliding window.
  int64_t mask = RoundUp(settings.context, kCellMultiple);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (!config.Slides(layer)) continue;
    mask += Positions(config, layer, settings.context);
    break;
  }
  const int64_t head = 4 * (config.vocab_size + 2 * config.hidden_size);
  const int64_t layer = 4 * (4 * config.intermediate_size + config.hidden_size) + 2 * mask;
  return std::min(kBatch, settings.context) * std::max(head, layer) + kInputBytes;
}

absl::StatusOr<int64_t> GgufOverheadBytes(const Model& model) {
  // Any assignment that GGUF can hold will do: only padding depends on it.
  const Assignment assignment(model.components().size(), kFormatF16);
  BB_ASSIGN_OR_RETURN(const GgufOutput output, GgufOutput::Create(model, assignment, {}));
  int64_t weights = model.fixed_bytes();
  for (const Component& c : model.components()) weights += SizeBytes(kFormatF16, c.rows, c.cols);
  return output.FileBytes() - weights + kProvenanceBytes +
         kMaxPadding * static_cast<int64_t>(model.components().size());
}

absl::StatusOr<BudgetFor> ParseBudgetFor(const std::string& text) {
  for (const BudgetFor what : {BudgetFor::kWeights, BudgetFor::kFile, BudgetFor::kMemory}) {
    if (text == BudgetForName(what)) return what;
  }
  return UnknownName("purpose of a budget", text, {"weights", "file", "memory"});
}

absl::StatusOr<BudgetFor> BudgetCounts(const Budget& budget,
                                       const BudgetScope& scope,
                                       const TargetProfile* target) {
  const bool is_size = budget.unit == Budget::Unit::kBytes;
  const bool makes_file = target != nullptr && target->WritesGguf();
  const BudgetFor otherwise = scope.context.has_value() ? BudgetFor::kMemory
                              : is_size && makes_file   ? BudgetFor::kFile
                                                        : BudgetFor::kWeights;
  const BudgetFor counts = scope.counts.value_or(otherwise);
  if (counts == BudgetFor::kMemory && !scope.context.has_value()) {
    return absl::InvalidArgumentError("a budget for memory needs a context");
  }
  if (counts != BudgetFor::kMemory && scope.context.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a context is for a budget for memory, not for ", BudgetForName(counts)));
  }
  if (counts == BudgetFor::kFile && !makes_file) {
    return absl::InvalidArgumentError(
        "a budget for a file needs a target that makes one file: llama.cpp or ik_llama");
  }
  if (counts != BudgetFor::kWeights && !is_size) {
    return absl::InvalidArgumentError(absl::StrCat("budget ",
                                                   budget.text,
                                                   " is about the weights; one for ",
                                                   BudgetForName(counts),
                                                   " is a size, such as 6GiB"));
  }
  return counts;
}

absl::StatusOr<BudgetSplit> SplitBudget(const Model& model,
                                        const Budget& budget,
                                        const BudgetScope& scope,
                                        const TargetProfile* target) {
  BudgetSplit split;
  BB_ASSIGN_OR_RETURN(split.counts, BudgetCounts(budget, scope, target));
  split.total_bytes = budget.Bytes(model.parameter_count(), model.stored_bytes());
  if (split.counts != BudgetFor::kWeights && target != nullptr && target->WritesGguf()) {
    BB_ASSIGN_OR_RETURN(split.file_overhead, GgufOverheadBytes(model));
  }
  if (split.counts == BudgetFor::kMemory) {
    split.run = {*scope.context, scope.kv};
    BB_ASSIGN_OR_RETURN(split.kv_bytes, KvBytes(model.config(), split.run));
    split.compute_bytes = ComputeBytes(model.config(), split.run);
  }
  const int64_t rest = split.file_overhead + split.kv_bytes + split.compute_bytes;
  split.weight_bytes = split.total_bytes - rest;
  if (split.weight_bytes > 0) return split;
  return InfeasibleError(
      absl::StrCat("the budget of ",
                   split.total_bytes,
                   " bytes leaves nothing for the weights: keys and values take ",
                   split.kv_bytes,
                   ", run-time buffers ",
                   split.compute_bytes,
                   ", metadata and tokenizer ",
                   split.file_overhead,
                   split.counts == BudgetFor::kMemory
                       ? "; a shorter context or keys and values in q8_0 take less"
                       : ""));
}

}  // namespace bitbudget
