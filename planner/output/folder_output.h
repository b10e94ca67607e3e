#ifndef BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_
#define BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "planner/output/folder_weights.h"
#include "runtime/base/progress.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

struct FolderOutputOptions {
  // kDequantized: decoded values, which any program loads. kCompressedTensors: integer components
  // as packed codes and scales in compressed-tensors' format pack-quantized, the rest decoded.
  // kMlx: quantized components as MLX's modules hold them, the rest decoded.
  enum class Weights : uint8_t { kDequantized, kCompressedTensors, kMlx };
  Weights weights = Weights::kDequantized;
  // The type of decoded matrices; nullopt: that of the checkpoint's tensor. kFormatF32 holds
  // decoded values exactly, 16 bits round them. With kMlx also that of vectors: MLX computes in f32
  // what has f16 and bf16 operands.
  std::optional<Format> float_type;
  // A JSON object whose members config.json gets: what the packed weights are. Empty: none.
  std::string config_entries;
  // By name, values that replace a vector of the checkpoint, written in `float_type` or the type of
  // the checkpoint's tensor.
  std::map<std::string, std::vector<float>> vectors;
  // A shard is closed before it would hold more.
  int64_t shard_bytes = int64_t{4} << 30;
};

// Writes a Hugging Face folder: config.json, the weights as safetensors, and every other file of
// the model's folder (tokenizer, generation settings) as it is. `out` must not exist or be
// empty; it appears whole or not at all. kUnimplemented for a model from a GGUF file, which has no
// such folder; kCancelled on interruption; errors of encoding and of files, naming them.
absl::Status WriteModelFolder(const FolderWeights& source,
                              const FolderOutputOptions& options,
                              const std::string& out,
                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_
