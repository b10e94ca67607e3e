#ifndef BITBUDGET_RUNTIME_EVAL_BOUNDED_ARGMAX_H_
#define BITBUDGET_RUNTIME_EVAL_BOUNDED_ARGMAX_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/panels.h"

namespace bitbudget {

// Decides whether the largest logit is the expected token's, without computing all logits exactly.
// The decision is that of ArgMax(all logits) == expected on the f32 path (lowest id among ties;
// false when any logit is not finite):
//   1. Exact logits of the expected token and of a few likely rivals: a rival that wins settles it.
//   2. All rows of the head, quantised to int8 and multiplied on the int16 path, with a bound on
//      the distance to the exact logit: rows that cannot reach the expected token's are excluded.
//   3. Exact logits of the remaining rows.
// The bound for row w, its quantised w', activations h and their rounding h' is by Cauchy-Schwarz
//   |fl(w.h) - fl(w'.h')| <= |w - w'| |h| + |w'| |h - h'| + rounding of both sums,
// all norms Euclidean, known per row and per position. Soft-capped logits are compared after the
// cap, where they can tie; step 2 then excludes only what is below the expected token's by more
// than the cap's own rounding.
class BoundedArgmax {
 public:
  // Quantises a head of the f32 path on up to `threads` threads. `soft_cap`:
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
  // expected token; `rows` if there is none. `likely`: tokens to try first, the same number for
  // every row. `head`: what the object was made from.
  int64_t FirstMiss(const WeightPanels& head,
                    const float* x,
                    int64_t rows,
                    std::span<const int32_t> expected,
                    std::span<const int32_t> likely,
                    Workspace* workspace) const;

 private:
  // Norms of one row of the head, rounded up.
  struct RowNorms {
    float weights;    // |w|
    float quantised;  // |w'|
    float error;      // |w - w'|
  };

  // The logit of one token for one packed row, soft-capped.
  float ExactLogit(const WeightPanels& head, const PackedActivations& row, int32_t token) const;
  // Exact logits below this value are below `capped` after the cap.
  double Uncapped(float capped) const;
  // Step 1 for one row. Packs it and sets *logit to that of the expected token; false: a miss.
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
