#ifndef BITBUDGET_RUNTIME_EVAL_BANK_H_
#define BITBUDGET_RUNTIME_EVAL_BANK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/weights.h"
#include "runtime/tensor/encoder.h"

namespace bitbudget {

// Encodes and packs every (component, format) once. Not thread-safe; the weights it hands out are.
class EncodingBank {
 public:
  // All arguments outlive the bank. `max_bytes` bounds what Trim() leaves.
  EncodingBank(const Model& model,
               const ReferenceWeights& reference,
               const Encoder& encoder,
               Activations activations,
               int64_t max_bytes = int64_t{4} << 30);

  // Makes the given weights ready, encoding on up to `threads` threads. A format that is the
  // checkpoint's own stands for the unmodified weights.
  absl::Status Prepare(std::span<const ComponentFormat> wanted, int threads);

  // REQUIRES: prepared and not trimmed since.
  const ComponentWeights* Get(ComponentId component, const Format& format);

  // The weights of a whole assignment, prepared.
  absl::StatusOr<WeightSet> Weights(const Assignment& assignment, int threads);

  // Frees the least recently used weights that `keep` does not need until at most max_bytes are
  // held. Pointers to freed weights become invalid.
  void Trim(const Assignment& keep);

  // The format that the checkpoint stores a component in.
  Format StoredFormat(ComponentId component) const;
  // Every component in its stored format: the reference as an assignment.
  Assignment StoredAssignment() const;

 private:
  struct Entry {
    std::unique_ptr<ComponentWeights> weights;
    int64_t last_use = 0;
  };

  const Model& model_;
  const ReferenceWeights& reference_;
  const Encoder& encoder_;
  Activations activations_;
  int64_t max_bytes_;
  std::map<ComponentFormat, Entry> entries_;
  int64_t held_bytes_ = 0;
  int64_t clock_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_BANK_H_
