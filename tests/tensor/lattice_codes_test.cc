#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <set>
#include <vector>

#include "runtime/tensor/block_format.h"
#include "runtime/tensor/lattice.h"

namespace bitbudget {
namespace {

using Levels = std::array<int8_t, kLatticeInputs>;

std::vector<const Lattice*> Lattices() {
  return {&internal::kIQ1Lattice,
          &internal::kIQ2XXSLattice,
          &internal::kIQ2XSLattice,
          &internal::kIQ2SLattice,
          &internal::kIQ3XXSLattice,
          &internal::kIQ3SLattice};
}

TEST(Lattice, PointsDifferAndHaveLevelsOfTheirType) {
  for (const Lattice* lattice : Lattices()) {
    std::set<int> digits;
    for (int point = 0; point < lattice->points; ++point) {
      digits.insert(lattice->digits[point]);
      for (int dim = 0; dim < lattice->dims; ++dim) {
        const int value = lattice->Value(point, dim);
        EXPECT_TRUE(lattice->signs == Lattice::Signs::kShifted ? value >= -1 && value <= 1
                                                               : value > 0);
      }
    }
    EXPECT_EQ(static_cast<int>(digits.size()), lattice->points);
    EXPECT_TRUE(std::has_single_bit(static_cast<unsigned>(lattice->points)));
  }
}

TEST(Lattice, EveryCodeComesBackFromItsLevels) {
  for (const Lattice* lattice : Lattices()) {
    for (int point = 0; point < lattice->points; ++point) {
      for (const int signs : {0, 1, 0x81, 0x7e, 0xff}) {
        LatticeCode code;
        code.points[0] = static_cast<uint16_t>(point);
        if (lattice->dims == 4) code.points[1] = static_cast<uint16_t>(lattice->points - 1 - point);
        code.signs =
            static_cast<uint8_t>(lattice->signs == Lattice::Signs::kShifted ? signs & 1 : signs);
        Levels levels;
        LatticeLevels(*lattice, code, levels);
        const LatticeCode again = CodeOfLevels(*lattice, levels);
        EXPECT_EQ(again.points[0], code.points[0]);
        EXPECT_EQ(again.points[1], code.points[1]);
        EXPECT_EQ(again.signs, code.signs);
      }
    }
  }
}

TEST(LatticeDeathTest, LevelsThatAreNoPointHaveNoCode) {
  Levels levels;
  levels.fill(43);
  levels[7] = -43;  // 43 everywhere is no point of iq2_xxs
  EXPECT_DEATH(CodeOfLevels(internal::kIQ2XXSLattice, levels), "no point");
  levels[0] = 5;
  EXPECT_DEATH(CodeOfLevels(internal::kIQ2XXSLattice, levels), "no level 5");
}

}  // namespace
}  // namespace bitbudget
