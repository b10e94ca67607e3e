#include "runtime/tensor/lattice.h"

#include <glog/logging.h>

#include <cstdlib>
#include <vector>

namespace bitbudget {
namespace internal {

// The codebooks as ggml's decoder shows them: every point decoded with unit scales
// (tests/peer/blocks_test.py compares).
#include "runtime/tensor/lattice_points.inc"

}  // namespace internal

namespace {

// The point of every number of digits; those of no point are -1.
std::vector<int16_t> PointsByDigits(const Lattice& lattice) {
  std::vector<int16_t> points(size_t{1} << (lattice.digit_bits * lattice.dims), -1);
  for (int point = 0; point < lattice.points; ++point) {
    points[lattice.digits[point]] = static_cast<int16_t>(point);
  }
  return points;
}

const std::vector<int16_t>& PointsOf(const Lattice& lattice) {
  using internal::kIQ1Lattice;
  static const std::vector<int16_t> iq1 = PointsByDigits(internal::kIQ1Lattice);
  static const std::vector<int16_t> iq2_xxs = PointsByDigits(internal::kIQ2XXSLattice);
  static const std::vector<int16_t> iq2_xs = PointsByDigits(internal::kIQ2XSLattice);
  static const std::vector<int16_t> iq2_s = PointsByDigits(internal::kIQ2SLattice);
  static const std::vector<int16_t> iq3_xxs = PointsByDigits(internal::kIQ3XXSLattice);
  static const std::vector<int16_t> iq3_s = PointsByDigits(internal::kIQ3SLattice);
  if (&lattice == &internal::kIQ1Lattice) return iq1;
  if (&lattice == &internal::kIQ2XXSLattice) return iq2_xxs;
  if (&lattice == &internal::kIQ2XSLattice) return iq2_xs;
  if (&lattice == &internal::kIQ2SLattice) return iq2_s;
  return &lattice == &internal::kIQ3XXSLattice ? iq3_xxs : iq3_s;
}

int DigitOf(const Lattice& lattice, int value) {
  for (int digit = 0; digit < 1 << lattice.digit_bits; ++digit) {
    if (lattice.values[digit] == value) return digit;
  }
  LOG(FATAL) << "no level " << value;
}

}  // namespace

void LatticeLevels(const Lattice& lattice, const LatticeCode& code, std::span<int8_t, 8> levels) {
  const bool shifted = lattice.signs == Lattice::Signs::kShifted;
  for (int i = 0; i < kLatticeInputs; ++i) {
    const int value = lattice.Value(code.points[i / lattice.dims], i % lattice.dims);
    const bool negative = code.signs >> (shifted ? 0 : i) & 1;
    const int level = shifted ? 8 * value + (negative ? -1 : 1) : negative ? -value : value;
    levels[i] = static_cast<int8_t>(level);
  }
}

LatticeCode CodeOfLevels(const Lattice& lattice, std::span<const int8_t, 8> levels) {
  const bool shifted = lattice.signs == Lattice::Signs::kShifted;
  LatticeCode code;
  // 7, -1 and -9 are multiples of eight less 1.
  if (shifted) code.signs = (levels[0] & 7) == 7 ? 1 : 0;
  int digits[2] = {0, 0};
  for (int i = 0; i < kLatticeInputs; ++i) {
    if (!shifted && levels[i] < 0) code.signs = static_cast<uint8_t>(code.signs | 1 << i);
    const int value =
        shifted ? (levels[i] + (code.signs != 0 ? 1 : -1)) / 8 : std::abs(int{levels[i]});
    digits[i / lattice.dims] |= DigitOf(lattice, value)
                                << (lattice.digit_bits * (i % lattice.dims));
  }
  for (int part = 0; part < kLatticeInputs / lattice.dims; ++part) {
    const int point = PointsOf(lattice)[digits[part]];
    CHECK_GE(point, 0) << "levels that are no point";
    code.points[part] = static_cast<uint16_t>(point);
  }
  return code;
}

}  // namespace bitbudget
