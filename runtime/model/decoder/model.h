#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_MODEL_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/architecture/checkpoint.h"
#include "runtime/model/decoder/components.h"
#include "runtime/model/decoder/layer_vectors.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// A loaded checkpoint: immutable, weights stay memory-mapped. Outlives every object that refers to
// it.
class Model {
 public:
  // Loads a Hugging Face folder or a GGUF file (docs/models.md): checks every name, shape and type
  // against the configuration and scans all weights for NaN and infinity, on `threads` threads.
  // Errors are one line that names file, field or tensor, and value.
  static absl::StatusOr<std::unique_ptr<Model>> Load(const std::string& path, int threads);

  const std::string& path() const { return checkpoint_.path; }
  const std::string& config_path() const { return checkpoint_.config_path; }
  const ModelConfig& config() const { return checkpoint_.config; }
  const std::vector<Component>& components() const { return components_; }
  const Component& component(ComponentId id) const { return components_[id]; }
  const TensorView& Weight(ComponentId id) const { return weights_[id]; }
  // Takes the pages of a component's weights out of memory (MappedFile::ReleasePages): for who has
  // read them and will not soon again.
  void ReleasePages(ComponentId id) const;
  // Every tensor that the model uses, as stored, by Hugging Face name.
  const std::map<std::string, const ArchiveTensor*>& tensors() const { return taken_; }
  const LayerVectors& layer(int layer) const { return layers_[layer]; }
  const std::vector<float>& final_norm() const { return final_norm_; }
  const Tokenizer* tokenizer() const { return checkpoint_.tokenizer.get(); }  // null: no tokenizer

  // The largest magnitude in the stored tensor that holds the component.
  float LargestMagnitude(ComponentId id) const { return magnitudes_.at(component(id).stored_name); }

  // The component that computes logits: the head, or the tied embedding.
  ComponentId head() const { return head_; }

  // All weights that the model uses, tied ones once.
  int64_t parameter_count() const { return parameter_count_; }
  // Their bytes as stored, and the part that no plan touches (norms and biases).
  int64_t stored_bytes() const { return stored_bytes_; }
  int64_t fixed_bytes() const { return fixed_bytes_; }

  // SHA-256 over config.json (or a GGUF file's metadata) and every tensor's name, dtype, shape and
  // bytes, in name order: the same for any sharding of the same weights. Computed at the first call
  // (one pass over the weights); safe to call from many threads.
  const std::string& Fingerprint() const;

 private:
  Model() = default;

  absl::Status ReadTensors();
  // A tensor of the checkpoint, its shape checked; the model's counts include it from now on.
  absl::StatusOr<const ArchiveTensor*> Take(const std::string& name,
                                            const std::vector<int64_t>& shape);
  // A vector, `offset` added to its values.
  absl::StatusOr<std::vector<float>> TakeVector(const std::string& name,
                                                int64_t size,
                                                float offset);
  absl::StatusOr<LayerVectors> TakeLayer(int layer);
  absl::Status CheckRest() const;
  // One pass over all weights: they must be finite.
  absl::Status ReadMagnitudes(int threads);
  void ReleasePages(const TensorView& view) const;

  Checkpoint checkpoint_;
  std::map<std::string, const ArchiveTensor*> taken_;  // what the model uses, by name
  std::vector<Component> components_;
  std::vector<TensorView> weights_;
  std::map<std::string, float> magnitudes_;  // the largest of each tensor that is used
  std::vector<LayerVectors> layers_;
  std::vector<float> final_norm_;
  ComponentId head_ = 0;
  int64_t parameter_count_ = 0;
  int64_t stored_bytes_ = 0;
  int64_t fixed_bytes_ = 0;
  mutable std::once_flag fingerprint_once_;
  mutable std::string fingerprint_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_MODEL_H_
