#include "runtime/tensor/lattice_blocks.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "runtime/base/float16.h"

namespace bitbudget {
namespace {

constexpr int kVectors = kMaxBlock / kLatticeInputs;

// The numbers that a block stores.
struct Stored {
  int d = 0;  // bits of an f16
  std::array<int, kMaxBlockGroups> scales{};
  std::array<int, 2 * kVectors> points{};  // of dims inputs each
  std::array<int, kVectors> signs{};       // of eight inputs each
};

// Reads or writes a number, or bits of it from `shift` on, at bits of a block that are counted from
// the lowest of its first byte. Both directions share one description of every type (Visit).
struct Reader {
  const uint8_t* bytes;
  void Bits(int at, int count, int* number, int shift = 0) const {
    for (int i = 0; i < count; ++i) {
      *number |= (bytes[(at + i) / 8] >> ((at + i) % 8) & 1) << (shift + i);
    }
  }
};
struct Writer {
  uint8_t* bytes;
  void Bits(int at, int count, const int* number, int shift = 0) const {
    for (int i = 0; i < count; ++i) {
      const int bit = *number >> (shift + i) & 1;
      bytes[(at + i) / 8] = static_cast<uint8_t>(bytes[(at + i) / 8] | bit << ((at + i) % 8));
    }
  }
};

// Where the numbers of each type stand.
template <typename Access, typename Numbers>
void Visit(FormatKind kind, const Access& access, Numbers& n) {
  if (kind != FormatKind::kIQ1_M) access.Bits(0, 16, &n.d);
  switch (kind) {
    case FormatKind::kIQ1_S:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(16 + 8 * v, 8, &n.points[v]);
        access.Bits(272 + 16 * (v / 4) + 3 * (v % 4), 3, &n.points[v], 8);
      }
      for (int g = 0; g < 8; ++g) {
        access.Bits(272 + 16 * g + 12, 3, &n.scales[g]);
        access.Bits(272 + 16 * g + 15, 1, &n.signs[4 * g]);  // of the whole group
      }
      return;
    case FormatKind::kIQ1_M:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(8 * v, 8, &n.points[v]);
        access.Bits(256 + 4 * v, 3, &n.points[v], 8);
        access.Bits(256 + 4 * v + 3, 1, &n.signs[v]);
      }
      for (int g = 0; g < 16; ++g) access.Bits(384 + 16 * (g / 4) + 3 * (g % 4), 3, &n.scales[g]);
      for (int part = 0; part < 4; ++part) access.Bits(396 + 16 * part, 4, &n.d, 4 * part);
      return;
    case FormatKind::kIQ2_XXS:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(16 + 64 * (v / 4) + 8 * (v % 4), 8, &n.points[v]);
        access.Bits(48 + 64 * (v / 4) + 7 * (v % 4), 7, &n.signs[v]);
      }
      for (int g = 0; g < 8; ++g) access.Bits(76 + 64 * g, 4, &n.scales[g]);
      return;
    case FormatKind::kIQ2_XS:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(16 + 16 * v, 9, &n.points[v]);
        access.Bits(25 + 16 * v, 7, &n.signs[v]);
      }
      for (int g = 0; g < 16; ++g) access.Bits(528 + 4 * g, 4, &n.scales[g]);
      return;
    case FormatKind::kIQ2_S:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(16 + 8 * v, 8, &n.points[v]);
        access.Bits(272 + 8 * v, 8, &n.signs[v]);
        access.Bits(528 + 2 * v, 2, &n.points[v], 8);
      }
      for (int g = 0; g < 16; ++g) access.Bits(592 + 4 * g, 4, &n.scales[g]);
      return;
    case FormatKind::kIQ3_XXS:
      for (int v = 0; v < kVectors; ++v) {
        access.Bits(16 + 16 * v, 8, &n.points[2 * v]);
        access.Bits(24 + 16 * v, 8, &n.points[2 * v + 1]);
        access.Bits(528 + 32 * (v / 4) + 7 * (v % 4), 7, &n.signs[v]);
      }
      for (int g = 0; g < 8; ++g) access.Bits(556 + 32 * g, 4, &n.scales[g]);
      return;
    case FormatKind::kIQ3_S:
      for (int v = 0; v < kVectors; ++v) {
        for (int part = 2 * v; part < 2 * v + 2; ++part) {
          access.Bits(16 + 8 * part, 8, &n.points[part]);
          access.Bits(528 + part, 1, &n.points[part], 8);
        }
        access.Bits(592 + 8 * v, 8, &n.signs[v]);
      }
      for (int g = 0; g < 8; ++g) access.Bits(848 + 4 * g, 4, &n.scales[g]);
      return;
    default:
      LOG(FATAL) << "no type with a lattice";
  }
}

// The eighth sign of an even number of negative ones.
int WithEighth(int seven) { return seven | (std::popcount(static_cast<unsigned>(seven)) & 1) << 7; }

}  // namespace

void UnpackLatticeBlock(const BlockTraits& traits, const uint8_t* bytes, BlockFields* fields) {
  const Lattice& lattice = *traits.lattice;
  Stored stored;
  Visit(traits.kind, Reader{bytes}, stored);
  fields->d =
      HalfToFloat(static_cast<uint16_t>(stored.d)) / static_cast<float>(lattice.denominator);
  fields->dmin = 0.0f;
  fields->minimums.fill(0);
  fields->scales.fill(1);
  for (int g = 0; g < traits.groups(); ++g) {
    fields->scales[g] = static_cast<int16_t>(2 * stored.scales[g] + 1);
  }
  const int parts = kLatticeInputs / lattice.dims;
  for (int v = 0; v < kVectors; ++v) {
    const int signs = stored.signs[traits.kind == FormatKind::kIQ1_S ? v / 4 * 4 : v];
    LatticeCode code;
    for (int part = 0; part < parts; ++part) {
      code.points[part] = static_cast<uint16_t>(stored.points[v * parts + part]);
    }
    code.signs =
        static_cast<uint8_t>(lattice.signs == Lattice::Signs::kEven ? WithEighth(signs) : signs);
    std::array<int8_t, kLatticeInputs> levels;
    LatticeLevels(lattice, code, levels);
    for (int i = 0; i < kLatticeInputs; ++i) {
      fields->codes[v * kLatticeInputs + i] = static_cast<uint8_t>(levels[i] + traits.offset);
    }
  }
}

void PackLatticeBlock(const BlockTraits& traits, const BlockFields& fields, uint8_t* bytes) {
  const Lattice& lattice = *traits.lattice;
  Stored stored;
  stored.d = FloatToHalf(fields.d * static_cast<float>(lattice.denominator));
  for (int g = 0; g < traits.groups(); ++g) stored.scales[g] = (fields.scales[g] - 1) / 2;
  const int parts = kLatticeInputs / lattice.dims;
  for (int v = 0; v < kVectors; ++v) {
    std::array<int8_t, kLatticeInputs> levels;
    for (int i = 0; i < kLatticeInputs; ++i) {
      levels[i] = static_cast<int8_t>(fields.codes[v * kLatticeInputs + i] - traits.offset);
    }
    const LatticeCode code = CodeOfLevels(lattice, levels);
    for (int part = 0; part < parts; ++part) stored.points[v * parts + part] = code.points[part];
    stored.signs[v] = code.signs;
  }
  std::fill_n(bytes, traits.bytes, uint8_t{0});
  Visit(traits.kind, Writer{bytes}, std::as_const(stored));
}

}  // namespace bitbudget
