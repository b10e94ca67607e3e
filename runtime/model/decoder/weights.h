#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/kernels/panels.h"
#include "runtime/model/decoder/activations.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/stages.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// The panels that an encoding runs on with these activations.
WeightPanels PackWeightsFor(const Encoding& encoding, Activations activations);

// What a pass does with a component: looks up rows (an embedding), multiplies by it (everything
// else), or both (a tied embedding).
enum class WeightUse : uint8_t { kRows, kProduct, kBoth };
WeightUse UseOf(const Model& model, ComponentId id);

// One component ready to run.
class ComponentWeights {
 public:
  // The checkpoint's own values, on the f32 path.
  ComponentWeights(const Model& model, ComponentId id);
  // An encoding of them.
  ComponentWeights(const Encoding& encoding,
                   Activations activations,
                   WeightUse use = WeightUse::kProduct);

  // REQUIRES: a use with products.
  const WeightPanels& panels() const { return panels_; }

  // How llama.cpp rounds the inputs of the checkpoint's own values; kNone for an encoding, whose
  // panels know.
  InputRounding stored_rounding() const { return stored_rounding_; }

  // Row `row` as float, for embedding lookups. REQUIRES: built from a checkpoint, or a use with
  // rows.
  void ReadRow(int64_t row, std::span<float> out) const;

  // Memory held, in bytes.
  int64_t bytes() const;

 private:
  WeightPanels panels_;
  TensorView stored_;
  InputRounding stored_rounding_ = InputRounding::kNone;
  std::optional<Encoding> encoding_;
};

// The weights of a pass: one entry per component, not owned; null for components that the stages at
// hand do not use.
struct WeightSet {
  std::vector<const ComponentWeights*> components;
  // Norms and biases of some layers, by layer, in place of the model's; null or none: the model's.
  const VectorsByLayer* vectors = nullptr;
  // Whose norms and biases, the final norm included, run in place of the model's: a model of the
  // same settings and shapes; null: the model's.
  const Model* vectors_of = nullptr;
  // Round the activations of f32 products as the int16 path would: with the reference's weights
  // this measures the runtime's own noise floor.
  bool round_activations = false;
  // Round the activations of products with the checkpoint's own values as llama.cpp does.
  bool round_stored = false;

  const LayerVectors& VectorsOf(const Model& model, int layer) const;
  const std::vector<float>& FinalNormOf(const Model& model) const;
};

// Weights of the stages [first, end), kept in memory while the lease lives. Move-only; must not
// outlive its source.
class WeightLease {
 public:
  WeightLease(WeightSet set, int end, std::function<void()> release)
      : set_(std::move(set)), end_(end), release_(std::move(release)) {}
  WeightLease(WeightLease&& other) noexcept
      : set_(std::move(other.set_)),
        end_(other.end_),
        release_(std::exchange(other.release_, nullptr)) {}
  WeightLease& operator=(WeightLease&&) = delete;
  ~WeightLease() {
    if (release_) release_();
  }

  const WeightSet& set() const { return set_; }
  int end() const { return end_; }

 private:
  WeightSet set_;
  int end_;
  std::function<void()> release_;
};

// Where a pass gets its weights from; an implementation decides what stays in memory. Not
// thread-safe; what a lease holds may be read from many threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Makes the weights of stage `first` ready, and those of as many stages after it, up to `end`, as
  // fit in memory, on up to `threads` threads. Errors: those of reading and encoding weights.
  // REQUIRES: 0 <= first < end <= NumStages().
  virtual absl::StatusOr<WeightLease> Pin(int first, int end, int threads) = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_
