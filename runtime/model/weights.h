#ifndef BITBUDGET_RUNTIME_MODEL_WEIGHTS_H_
#define BITBUDGET_RUNTIME_MODEL_WEIGHTS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/kernels/panels.h"
#include "runtime/model/model.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// How integer formats are run. kInt16: on the int16 path (activations rounded to int16 per row),
// which is what validation uses; kInt8: activations rounded to int8 per row and group of the
// weights, as W4A8 and W8A8 runtimes do; kF32: decoded weights and f32 activations.
enum class Activations : uint8_t { kInt16, kInt8, kF32 };

absl::StatusOr<Activations> ParseActivations(absl::string_view name);  // "int16", "int8", "f32"
const char* ActivationsName(Activations activations);

// One component ready to run.
class ComponentWeights {
 public:
  // The checkpoint's own values, on the f32 path.
  ComponentWeights(const Model& model, ComponentId id);
  // An encoding of them. `keep_rows` keeps it for embedding lookups.
  ComponentWeights(Encoding encoding, Activations activations, bool keep_rows);

  const WeightPanels& panels() const { return panels_; }

  // Row `row` as float, for embedding lookups. REQUIRES: built from a checkpoint or with keep_rows.
  void ReadRow(int64_t row, std::span<float> out) const;

  // Memory held, in bytes.
  int64_t bytes() const;

 private:
  WeightPanels panels_;
  TensorView stored_;
  std::optional<Encoding> encoding_;
};

// What a forward pass runs with: one entry per component, not owned.
struct WeightSet {
  std::vector<const ComponentWeights*> components;
  // Round the activations of f32-path products as the int16 path would: with the reference's
  // weights this measures the runtime's own noise floor.
  bool round_activations = false;
};

// The unmodified model: owns one ComponentWeights per component, packed on `threads` threads.
class ReferenceWeights {
 public:
  ReferenceWeights(const Model& model, int threads);
  const WeightSet& set() const { return set_; }
  const ComponentWeights& component(ComponentId id) const { return *owned_[id]; }

 private:
  std::vector<std::optional<ComponentWeights>> owned_;
  WeightSet set_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_WEIGHTS_H_
