#ifndef BITBUDGET_RUNTIME_EVAL_BANK_H_
#define BITBUDGET_RUNTIME_EVAL_BANK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/base/spill_file.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

class EncodingBank;

// Every component in the format that the checkpoint stores it in: the reference as an assignment.
Assignment StoredAssignment(const Model& model);

// How products with the checkpoint's own values take their activations: as they are (the
// reference), rounded as the int16 path rounds them (WeightSet::round_activations), or as the
// bank's activations say, which is as they are but for Activations::kLlamaCpp (round_stored).
enum class F32Activations : uint8_t { kExact, kRounded, kByBank };

// The weights of an assignment, from a bank that outlives it.
class AssignmentWeights : public WeightSource {
 public:
  AssignmentWeights(EncodingBank* bank,
                    Assignment assignment,
                    F32Activations activations = F32Activations::kExact)
      : bank_(bank), assignment_(std::move(assignment)), activations_(activations) {}

  const Assignment& assignment() const { return assignment_; }
  absl::StatusOr<WeightLease> Pin(int first, int end, int threads) override;

 private:
  EncodingBank* bank_;
  Assignment assignment_;
  F32Activations activations_;
};

struct BankOptions {
  Activations activations = Activations::kInt16;
  // Memory for encodings and panels together. The weights of one stage are pinned even where they
  // alone exceed it.
  int64_t max_bytes = int64_t{4} << 30;
  // For the encodings that do not fit into memory.
  std::string spill_directory = "/tmp";
  // The model is what somebody else made of the one that a transformer runs, with the same settings
  // and shapes: its stored weights run as a candidate's encodings do, with its own norms and
  // biases.
  bool is_candidate = false;
};

// Owns everything that can be run: for every (component, format) that was asked for, the encoding,
// made once, and the panels that execute it, made when a stage needs them. A format that is the
// checkpoint's own stands for the unmodified weights; these have no encoding, their panels are made
// from the mapped checkpoint. When memory is short, the bank drops, in this order: panels that the
// running pass no longer needs, least recently used first; encodings, to a file from which panels
// are made just as well; panels that the running pass needs last. So what fits stays, and repeated
// passes over more than fits find part of it there. Not thread-safe; what a lease holds is
// shareable.
class EncodingBank {
 public:
  // The model and its encoder outlive the bank.
  EncodingBank(const Model& model, const WeightEncoder& encoder, const BankOptions& options);

  // From now on assignments other than the stored one run with these norms and biases in place of
  // the model's. Those of halves of layers that an assignment keeps as they are stored must not
  // differ.
  void UseVectors(VectorsByLayer vectors) { vectors_ = std::move(vectors); }

  // Encodes what was not encoded yet, on up to `threads` threads. kInvalidArgument when a component
  // cannot be encoded in its format (naming both), kCancelled when `progress` was interrupted, or
  // the errors of SpillFile.
  absl::Status Prepare(std::span<const ComponentFormat> wanted, int threads, Progress* progress);
  absl::Status Prepare(const Assignment& assignment, int threads, Progress* progress);

  // Sources of weights. Pinning encodes what was not prepared.
  AssignmentWeights Weights(const Assignment& assignment) {
    return {this, assignment, F32Activations::kByBank};
  }
  AssignmentWeights Reference() { return {this, StoredAssignment()}; }

  // Drops what was encoded: the encoder makes other encodings from now on. REQUIRES: nothing is
  // pinned.
  void Forget();

  // Frees memory until another bank can have `bytes` of this one's share, or nothing can go, and
  // returns how many there are.
  absl::StatusOr<int64_t> Lend(int64_t bytes);

  // A copy of an encoding, which is made unless it exists.
  absl::StatusOr<Encoding> Encoded(const ComponentFormat& what);

  // Pins the weights of some stages of an assignment: WeightSource::Pin.
  absl::StatusOr<WeightLease> Pin(
      const Assignment& assignment, F32Activations activations, int first, int end, int threads);

  // The format that the checkpoint stores a component in.
  Format StoredFormat(ComponentId component) const;
  Assignment StoredAssignment() const { return bitbudget::StoredAssignment(model_); }

  const Model& model() const { return model_; }
  Activations activations() const { return options_.activations; }

  // The work done so far, and the bytes held now in memory and in the spill file.
  struct Counts {
    int64_t encoded = 0;  // encodings made
    int64_t packed = 0;   // panels made
    int64_t held_bytes = 0;
    int64_t spilled_bytes = 0;
  };
  Counts counts() const;
  // An upper bound on the memory, in bytes, that the panels of a component in a format take.
  int64_t PanelBytes(const ComponentFormat& what) const;

 private:
  struct Entry {
    // Of what IsStored() is false for, from Prepare on: in memory, on disk, or both.
    std::optional<Encoding> encoding;
    std::optional<int64_t> spilled_at;
    std::unique_ptr<ComponentWeights> weights;
    int pins = 0;
    int64_t last_use = 0;
    int64_t needed_at = 0;  // the last Pin() whose pass needs it
  };
  using Entries = std::map<ComponentFormat, Entry>;

  // Whether it is run from the mapped checkpoint, without an encoding.
  bool IsStored(const ComponentFormat& what) const {
    return !options_.is_candidate && what.format == StoredFormat(what.component);
  }
  std::vector<ComponentFormat> OfStage(const Assignment& assignment, int stage) const;
  // Frees memory until `bytes` more fit, or nothing can go.
  absl::Status MakeRoom(int64_t bytes);
  // Makes the panels of what was just pinned that do not exist yet.
  absl::Status MakeWeights(const std::vector<ComponentFormat>& pinned, int threads);
  absl::StatusOr<std::unique_ptr<ComponentWeights>> Make(const ComponentFormat& what,
                                                         const Entry& entry) const;
  absl::StatusOr<Encoding> ReadBack(const ComponentFormat& what, const Entry& entry) const;
  void Unpin(const std::vector<ComponentFormat>& pinned);

  const Model& model_;
  const WeightEncoder& encoder_;
  const BankOptions options_;
  VectorsByLayer vectors_;
  Entries entries_;
  SpillFile spill_;
  int64_t held_bytes_ = 0;
  int64_t clock_ = 0;
  int64_t pin_clock_ = 0;
  Counts counts_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_BANK_H_
