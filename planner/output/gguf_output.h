#ifndef BITBUDGET_PLANNER_OUTPUT_GGUF_OUTPUT_H_
#define BITBUDGET_PLANNER_OUTPUT_GGUF_OUTPUT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/checkpoint/gguf_writer.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// The GGUF file of a model under an assignment, as llama.cpp reads it: with its names and order of
// rows, components that it stores as one tensor joined, and vectors in f32. Metadata and tokenizer
// of a model from a GGUF file are copied.
class GgufOutput {
 public:
  // Metadata about the file itself, as (key, text).
  using Provenance = std::vector<std::pair<std::string, std::string>>;

  // kInvalidArgument, naming the component, where GGUF has no such format or components of one
  // tensor have different ones; kUnimplemented where llama.cpp's metadata cannot describe the
  // model. `vectors` are norms and biases in place of the model's. The model outlives the output.
  static absl::StatusOr<GgufOutput> Create(const Model& model,
                                           const Assignment& assignment,
                                           const Provenance& provenance,
                                           const VectorsByLayer& vectors = {});

  // The exact size of the file.
  int64_t FileBytes() const { return writer_.FileBytes(); }

  // Encodes tensor by tensor and writes the file, whole or not at all. kCancelled on interruption;
  // errors of encoding and of the file.
  absl::Status Write(const std::string& path,
                     const WeightEncoder& encoder,
                     int threads,
                     Progress* progress) const;

 private:
  // A tensor of the file: the components that it holds in row order, or a vector.
  struct Tensor {
    std::string name;
    std::vector<ComponentId> components;
    std::vector<float> vector;
  };

  explicit GgufOutput(const Model& model, const Assignment& assignment)
      : model_(&model), assignment_(assignment) {}

  absl::Status AddMetadata(const Provenance& provenance);
  absl::Status AddTensors();
  absl::Status AddVectors(const VectorsByLayer& vectors);

  const Model* model_;
  Assignment assignment_;
  std::vector<Tensor> tensors_;
  GgufWriter writer_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_GGUF_OUTPUT_H_
