#ifndef BITBUDGET_RUNTIME_EVAL_BOUNDED_ARGMAX_H_
#define BITBUDGET_RUNTIME_EVAL_BOUNDED_ARGMAX_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/panels.h"

namespace bitbudget {

// Decides whether the largest logit is an expected token's, without all logits. The decision is
// exactly ArgMax(all logits) == expected (lowest id among ties; false when any logit is not
// finite), as the f32 path computes the logits:
//   1. The exact logits of the expected token and of a few likely rivals: one that wins settles it.
//   2. All rows of the head, quantised to int8 and multiplied on the int16 path, with a bound on
//      the distance to the exact logit: rows that cannot reach the expected token's are out.
//   3. Exact logits of the rows that are left.
// The bound for row w, its quantised w', activations h and their rounding h' is by Cauchy-Schwarz
//   |fl(w.h) - fl(w'.h')| <= |w - w'| |h| + |w'| |h - h'| + rounding of both sums,
// all norms Euclidean, known per row and per position. Where logits are soft-capped, the capped
// ones are compared, as ties among them are decided by id; step 2 asks for what lies below the
// expected token's by more than the cap's own rounding.
class BoundedArgmax {
 public:
  // Quantises the head, which is on the f32 path, on up to `threads` threads. `soft_cap` is
  // ModelConfig::final_soft_cap.
  BoundedArgmax(const WeightPanels& head, double soft_cap, int threads);

  struct Workspace {
    PackedActivations exact, screened;
    AlignedBuffer<float> logits;
    std::vector<float> expected_logits;
    // Of every row: |h|, |h - h'| and |h'|.
    struct Norms {
      double exact, error, rounded;
    };
    std::vector<Norms> norms;
  };

  // The index of the first of `rows` rows x[rows][k] (after the final norm) whose argmax is not its
  // expected token; `rows` if there is none. `likely` are tokens to try first, the same number for
  // every row; `head` is what the object was made from.
  int64_t FirstMiss(const WeightPanels& head,
                    const float* x,
                    int64_t rows,
                    std::span<const int32_t> expected,
                    std::span<const int32_t> likely,
                    Workspace* workspace) const;

  // Memory held, in bytes.
  int64_t bytes() const;

 private:
  // Norms of one row of the head, rounded up.
  struct RowNorms {
    float weights;    // |w|
    float quantised;  // |w'|
    float error;      // |w - w'|
  };

  // The logit of one token for one packed row, soft-capped.
  float ExactLogit(const WeightPanels& head, const PackedActivations& row, int32_t token) const;
  // Exact logits below it, ahead of the cap, end up below `capped`.
  double Uncapped(float capped) const;
  // Step 1 for one row. Packs it and sets *logit, that of the expected token; false: a miss.
  bool PassesLikely(const WeightPanels& head,
                    const float* x,
                    int32_t expected,
                    std::span<const int32_t> likely,
                    float* logit,
                    Workspace* workspace) const;

  std::vector<WeightPanels> screen_;  // kChunkRows rows of the head each
  std::vector<RowNorms> norms_;
  double largest_norm_ = 0;
  float soft_cap_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_BOUNDED_ARGMAX_H_
