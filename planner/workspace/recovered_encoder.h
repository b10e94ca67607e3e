#ifndef BITBUDGET_PLANNER_WORKSPACE_RECOVERED_ENCODER_H_
#define BITBUDGET_PLANNER_WORKSPACE_RECOVERED_ENCODER_H_

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/mapped_file.h"
#include "runtime/eval/assignment.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/tensor/encoding.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// The encodings that a recovery found, elsewhere in memory or in a mapped file, and the norms and
// biases that go with them. Move-only.
class RecoveredWeights {
 public:
  struct Part {
    Format format;
    std::span<const std::byte> bytes;
  };

  RecoveredWeights() = default;
  // The encodings outlive it.
  RecoveredWeights(const ComponentEncodings& encodings, VectorsByLayer vectors);
  // `parts` lie in the file.
  RecoveredWeights(MappedFile file, std::map<ComponentId, Part> parts, VectorsByLayer vectors)
      : file_(std::move(file)), parts_(std::move(parts)), vectors_(std::move(vectors)) {}

  bool empty() const { return parts_.empty(); }
  const std::map<ComponentId, Part>& parts() const { return parts_; }
  // Of the layers where they are not the model's.
  const VectorsByLayer& vectors() const { return vectors_; }

 private:
  std::optional<MappedFile> file_;
  std::map<ComponentId, Part> parts_;
  VectorsByLayer vectors_;
};

// Takes encodings from a recovery where there is one, and from another encoder where there is none.
class RecoveredEncoder : public WeightEncoder {
 public:
  // Both outlive it.
  RecoveredEncoder(const Model& model, const WeightEncoder& encoder)
      : model_(model), encoder_(encoder) {}

  // From now on the other encoder only copies what keeps its stored format.
  void Use(RecoveredWeights weights) { weights_ = std::move(weights); }

  // Norms and biases that go with the encodings, by layer.
  const VectorsByLayer& vectors() const { return weights_.vectors(); }

  // Whether every component can be had in the format that the assignment gives it.
  // kInvalidArgument, naming component and formats, where the recovery found no codes for it.
  absl::Status CheckFormats(const Assignment& assignment) const;

  // Errors: those of the other encoder and of CheckFormats.
  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;
  void FreeWorkspace() const override { encoder_.FreeWorkspace(); }

 private:
  absl::Status CheckFormat(ComponentId id, const Format& format) const;

  const Model& model_;
  const WeightEncoder& encoder_;
  RecoveredWeights weights_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_RECOVERED_ENCODER_H_
