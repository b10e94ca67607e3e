#ifndef BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_
#define BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/base/progress.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

struct FolderOutputOptions {
  // kDequantized: every matrix holds its decoded values, so that any program loads it.
  // kCompressedTensors: integer
  // components as packed codes and scales, as compressed-tensors' pack-quantized has them.
  enum class Weights : uint8_t { kDequantized, kCompressedTensors };
  Weights weights = Weights::kDequantized;
  // The type of decoded matrices; none: that of the checkpoint's tensor. kFormatF32 holds decoded
  // values exactly, 16 bits round them.
  std::optional<Format> float_type;
  // JSON of config.json's quantization_config; for kCompressedTensors.
  std::string quantization_config;
  // By name, what takes the place of a vector of the checkpoint: values as they are stored, in
  // `float_type` or the type of the checkpoint's tensor.
  std::map<std::string, std::vector<float>> vectors;
  // Shards are closed once they hold so much.
  int64_t shard_bytes = int64_t{4} << 30;
};

// Writes a Hugging Face folder: config.json, the weights as safetensors, and every other file of
// the model's folder (tokenizer, generation settings) as it is. `folder` must not exist or be
// empty; it appears whole or not at all. kUnimplemented for a model from a GGUF file (it has no
// such folder); kCancelled on interruption; errors of the encoding and of the files, naming them.
absl::Status WriteModelFolder(const Model& model,
                              const Assignment& assignment,
                              const WeightEncoder& encoder,
                              const FolderOutputOptions& options,
                              const std::string& folder,
                              int threads,
                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_FOLDER_OUTPUT_H_
