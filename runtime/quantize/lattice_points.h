#ifndef BITBUDGET_RUNTIME_QUANTIZE_LATTICE_POINTS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LATTICE_POINTS_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor/block_format.h"

namespace bitbudget {

// Finds the levels of codebook types (lattice.h): those of the least weighted squared error, among
// all points and signs that the type can store.
class LatticePoints {
 public:
  // REQUIRES: a type with a lattice. The object lives forever.
  static const LatticePoints& Of(const BlockTraits& traits);

  explicit LatticePoints(const BlockTraits& traits);

  // Inputs whose levels are chosen together: 8, or 32 in iq1_s, where they share the shift. Units
  // begin at multiples of it.
  int unit() const { return unit_; }

  // The magnitudes that levels have, in rising order.
  std::span<const float> magnitudes() const { return magnitudes_; }

  // A codebook by halves of its points.
  struct Half {
    int count = 0;
    int padded = 0;             // whole vectors
    std::vector<float> values;  // [dims / 2][padded]
  };
  struct Pair {
    uint16_t second;  // half
    uint16_t point;
  };
  struct Halves {
    int dims = 0;
    std::array<Half, 2> halves;
    std::vector<int> begins;  // of each first half's in `pairs`, and the end
    std::vector<Pair> pairs;
  };
  static Halves HalvesOf(const Lattice& lattice);

  // The levels that minimise sum weights_i (targets_i - levels_i)^2, and that error. REQUIRES:
  // unit() targets, weights (positive or 0) and levels; finite values.
  float Nearest(std::span<const float> targets,
                std::span<const float> weights,
                std::span<int8_t> levels) const;

 private:
  struct Best {
    float error;
    int point;
    int flipped;  // the input whose sign is turned around; -1: none
  };

  // For `dims` inputs: magnitudes (kShifted: signed values) and their weights. `flipped`: with the
  // sign of one input turned around, whichever costs least.
  Best Find(const float* targets, const float* weights, bool flipped) const;
  float NearestEven(const float* targets, const float* weights, int8_t* levels) const;
  float NearestFree(const float* targets, const float* weights, int8_t* levels) const;
  float NearestShifted(const float* targets, const float* weights, int shift, int8_t* levels) const;

  const Lattice& lattice_;
  int unit_;
  std::vector<float> magnitudes_;
  Halves halves_;
};

namespace internal {

// Whether all instruction sets of this machine find the same point for the first inputs: for tests.
bool LatticeSearchesAgree(const BlockTraits& traits,
                          std::span<const float> targets,
                          std::span<const float> weights);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LATTICE_POINTS_H_
