#ifndef BITBUDGET_RUNTIME_TENSOR_LATTICE_H_
#define BITBUDGET_RUNTIME_TENSOR_LATTICE_H_

#include <array>
#include <cstdint>
#include <span>

namespace bitbudget {

// The codebook ("grid" in ggml) of a block type: the levels of `dims` consecutive inputs are one of
// its points, with signs.
struct Lattice {
  // kEven: a sign for each of eight inputs, of which an even number are negative, so that seven
  // bits say which. kFree: eight bits. kShifted: a point's values have signs themselves; levels are
  // eight times them, all of eight inputs plus 1 or all less 1.
  enum class Signs : uint8_t { kEven, kFree, kShifted };

  int dims;    // 8 or 4
  int points;  // a power of two
  Signs signs;
  // A point as one number: `digit_bits` bits for each of its values, the first lowest.
  int digit_bits;
  const uint16_t* digits;  // [points]
  int8_t values[8];        // of a digit
  // The f16 of a block is so many times what levels are multiples of.
  int denominator;

  int Value(int point, int dim) const {
    return values[digits[point] >> (digit_bits * dim) & ((1 << digit_bits) - 1)];
  }
};

// Inputs whose levels are chosen together, with their signs.
inline constexpr int kLatticeInputs = 8;

namespace internal {
extern const uint16_t kIQ1Points[2048];
extern const uint16_t kIQ2XXSPoints[256];
extern const uint16_t kIQ2XSPoints[512];
extern const uint16_t kIQ2SPoints[1024];
extern const uint16_t kIQ3XXSPoints[256];
extern const uint16_t kIQ3SPoints[512];

inline constexpr Lattice kIQ1Lattice = {
    8, 2048, Lattice::Signs::kShifted, 2, kIQ1Points, {-1, 0, 1}, 8};
inline constexpr Lattice kIQ2XXSLattice = {
    8, 256, Lattice::Signs::kEven, 2, kIQ2XXSPoints, {8, 25, 43}, 8};
inline constexpr Lattice kIQ2XSLattice = {
    8, 512, Lattice::Signs::kEven, 2, kIQ2XSPoints, {8, 25, 43}, 8};
inline constexpr Lattice kIQ2SLattice = {
    8, 1024, Lattice::Signs::kFree, 2, kIQ2SPoints, {8, 25, 43}, 8};
inline constexpr Lattice kIQ3XXSLattice = {
    4, 256, Lattice::Signs::kEven, 3, kIQ3XXSPoints, {4, 12, 20, 28, 36, 44, 52, 62}, 4};
inline constexpr Lattice kIQ3SLattice = {
    4, 512, Lattice::Signs::kFree, 3, kIQ3SPoints, {1, 3, 5, 7, 9, 11, 13, 15}, 1};
}  // namespace internal

// The levels of eight inputs as a block stores them.
struct LatticeCode {
  uint16_t points[2] = {0, 0};  // the second for the last four inputs, where points have four
  uint8_t signs = 0;            // bit i: input i is negative; kShifted: bit 0: less 1
};

// What a code stands for, and the code of levels that have one.
void LatticeLevels(const Lattice& lattice, const LatticeCode& code, std::span<int8_t, 8> levels);
LatticeCode CodeOfLevels(const Lattice& lattice, std::span<const int8_t, 8> levels);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_LATTICE_H_
