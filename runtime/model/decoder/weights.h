#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/kernels/panels.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// How integer formats are run. kInt16: on the int16 path (activations rounded to int16 per row),
// which is what validation uses; kInt8: activations rounded to int8 per row and group of the
// weights, as W4A8 and W8A8 runtimes do; kToken8, kToken4: activations, queries, keys and values
// rounded to 8 or 4 bits per token and (the last three) head, asymmetric, as OmniQuant's W8A8, W4A8
// and W4A4, then as kInt16; kF32: decoded weights and f32 activations. Float formats always have
// f32 activations.
enum class Activations : uint8_t { kInt16, kInt8, kToken8, kToken4, kF32 };

// "int16", "int8", "token8", "token4", "f32"
absl::StatusOr<Activations> ParseActivations(absl::string_view name);
const char* ActivationsName(Activations activations);
// "int16, int8, token8, token4 or f32"
std::string ActivationsNames();

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

  // Row `row` as float, for embedding lookups. REQUIRES: built from a checkpoint, or a use with
  // rows.
  void ReadRow(int64_t row, std::span<float> out) const;

  // Memory held, in bytes.
  int64_t bytes() const;

 private:
  WeightPanels panels_;
  TensorView stored_;
  std::optional<Encoding> encoding_;
};

// What a forward pass runs with: one entry per component, not owned. Only the components of the
// stages at hand need be there (not null).
struct WeightSet {
  std::vector<const ComponentWeights*> components;
  // Round the activations of f32-path products as the int16 path would: with the reference's
  // weights this measures the runtime's own noise floor.
  bool round_activations = false;
};

// Weights of the stages [first, end) that stay in memory for as long as the lease lives. Move-only;
// must not outlive the source that gave it.
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

// Where a pass gets its weights from: whoever implements it decides what stays in memory. One
// thread at a time may call it; what a lease holds is shareable.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Makes the weights of stage `first` ready, and those of as many of the stages after it up to
  // `end` as there is memory for, on up to `threads` threads. Errors: what making them may meet.
  // REQUIRES: 0 <= first < end <= NumStages().
  virtual absl::StatusOr<WeightLease> Pin(int first, int end, int threads) = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_WEIGHTS_H_
