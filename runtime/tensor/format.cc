#include "runtime/tensor/format.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/known_names.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/block_format.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

constexpr Format Integer(int bits, int group, bool zero_point) {
  return {FormatKind::kInteger, bits, group, zero_point};
}

constexpr Format Affine(int bits, int group) { return {FormatKind::kAffine, bits, group, false}; }

constexpr Format kSupported[] = {
    kFormatF32,
    kFormatBF16,
    kFormatF16,
    Integer(8, 0, false),
    Integer(8, 32, false),
    Integer(8, 64, false),
    Integer(8, 128, false),
    Integer(8, 0, true),
    Integer(8, 32, true),
    Integer(8, 64, true),
    Integer(8, 128, true),
    Integer(4, 32, false),
    Integer(4, 64, false),
    Integer(4, 128, false),
    Integer(4, 32, true),
    Integer(4, 64, true),
    Integer(4, 128, true),
    Integer(3, 32, false),
    Integer(3, 64, false),
    Integer(3, 128, false),
    Integer(3, 32, true),
    Integer(3, 64, true),
    Integer(3, 128, true),
    Integer(2, 32, false),
    Integer(2, 64, false),
    Integer(2, 128, false),
    Integer(2, 32, true),
    Integer(2, 64, true),
    Integer(2, 128, true),
    {FormatKind::kOneBit, 1, 0, false},
    {FormatKind::kOneBit, 1, 0, false, /*layer_norm=*/true},
    {FormatKind::kRemoved, 0, 0, false},
    BlockFormat(FormatKind::kQ4_0),
    BlockFormat(FormatKind::kQ4_1),
    BlockFormat(FormatKind::kQ5_0),
    BlockFormat(FormatKind::kQ5_1),
    BlockFormat(FormatKind::kQ8_0),
    BlockFormat(FormatKind::kQ2_K),
    BlockFormat(FormatKind::kQ3_K),
    BlockFormat(FormatKind::kQ4_K),
    BlockFormat(FormatKind::kQ5_K),
    BlockFormat(FormatKind::kQ6_K),
    BlockFormat(FormatKind::kIQ4_NL),
    BlockFormat(FormatKind::kIQ4_XS),
    BlockFormat(FormatKind::kTQ1_0),
    BlockFormat(FormatKind::kTQ2_0),
    BlockFormat(FormatKind::kQ1_0),
    BlockFormat(FormatKind::kQ2_0),
    BlockFormat(FormatKind::kMXFP4),
    BlockFormat(FormatKind::kIQ1_S),
    BlockFormat(FormatKind::kIQ1_M),
    BlockFormat(FormatKind::kIQ2_XXS),
    BlockFormat(FormatKind::kIQ2_XS),
    BlockFormat(FormatKind::kIQ2_S),
    BlockFormat(FormatKind::kIQ3_XXS),
    BlockFormat(FormatKind::kIQ3_S),
    Affine(2, 32),
    Affine(2, 64),
    Affine(2, 128),
    Affine(3, 32),
    Affine(3, 64),
    Affine(3, 128),
    Affine(4, 32),
    Affine(4, 64),
    Affine(4, 128),
    Affine(5, 32),
    Affine(5, 64),
    Affine(5, 128),
    Affine(6, 32),
    Affine(6, 64),
    Affine(6, 128),
    Affine(8, 32),
    Affine(8, 64),
    Affine(8, 128),
};

// Exact for every pair of int64_t: n * k * 32 has at most 131 bits only when no machine could hold
// the matrix, so a row is computed first and checked before it is multiplied by n.
using Wide = __int128;

}  // namespace

int64_t Format::BlockSize() const { return IsBlock() ? BlockTraitsOf(*this).block : 1; }

int64_t Format::GroupSize(int64_t k) const {
  if (IsBlock()) return BlockTraitsOf(*this).group;
  if (!IsInteger()) return 0;
  return group == 0 ? k : group;
}

int64_t Format::GroupsPerRow(int64_t k) const {
  if (!HasLevels() || k == 0) return 0;
  const int64_t size = GroupSize(k);
  return k / size + (k % size != 0);
}

bool Format::HasMinimums() const { return IsBlock() && BlockTraitsOf(*this).minimum; }

std::string Format::Name() const {
  std::string name;
  switch (kind) {
    case FormatKind::kF32:
      name = "f32";
      break;
    case FormatKind::kF16:
      name = "f16";
      break;
    case FormatKind::kBF16:
      name = "bf16";
      break;
    case FormatKind::kInteger:
      name = absl::StrCat("int", bits, zero_point ? "z" : "");
      if (group != 0) absl::StrAppend(&name, "-g", group);
      break;
    case FormatKind::kOneBit:
      name = layer_norm ? "onebit-ln" : "onebit";
      break;
    case FormatKind::kRemoved:
      name = "removed";
      break;
    default:
      name = BlockTraitsOf(*this).name;
      break;
  }
  switch (sparsity.kind) {
    case SparsityKind::kDense:
      break;
    case SparsityKind::k2of4:
      name += "+2:4";
      break;
    case SparsityKind::kShare:
      absl::StrAppend(&name, "+s", sparsity.permille / 10);
      if (sparsity.permille % 10 != 0) absl::StrAppend(&name, ".", sparsity.permille % 10);
      break;
  }
  return name;
}

std::span<const Format> SupportedFormats() { return kSupported; }

bool IsSupported(const Format& format) {
  const Sparsity& sparsity = format.sparsity;
  const bool share = sparsity.kind == SparsityKind::kShare;
  if (share ? sparsity.permille < 1 || sparsity.permille > 999 : sparsity.permille != 0) {
    return false;
  }
  if (format.IsSparse() && !format.IsFloat() && !format.IsInteger()) return false;
  return std::find(std::begin(kSupported), std::end(kSupported), format.Dense()) !=
         std::end(kSupported);
}

absl::StatusOr<Format> ParseFormat(absl::string_view name) {
  const size_t plus = std::min(name.find('+'), name.size());
  for (Format format : kSupported) {
    if (format.Name() != name.substr(0, plus)) continue;
    const absl::string_view suffix = name.substr(plus);
    if (suffix == "+2:4") {
      format.sparsity.kind = SparsityKind::k2of4;
    } else if (double percent; absl::StartsWith(suffix, "+s") &&
                               absl::SimpleAtod(suffix.substr(2), &percent) && percent > 0 &&
                               percent < 100) {
      format.sparsity = {SparsityKind::kShare, static_cast<int>(std::lround(percent * 10))};
    }
    // Only exact names: every other spelling of a number has another name.
    if (IsSupported(format) && format.Name() == name) return format;
  }
  std::vector<std::string> names;
  for (const Format& format : kSupported) names.push_back(format.Name());
  const std::vector<absl::string_view> known(names.begin(), names.end());
  const absl::string_view nearest = NearestName(name, known);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown format \"",
      absl::CEscape(name),
      nearest.empty() ? "\"; " : absl::StrCat("\"; did you mean \"", nearest, "\"? "),
      "supported: ",
      absl::StrJoin(known, " "),
      "; float and integer formats also with +2:4 or +s and a share of zeros in per cent (+s50, "
      "+s37.5)"));
}

int64_t SizeBits(const Format& format, int64_t n, int64_t k) {
  CHECK(IsSupported(format)) << "no size is defined for " << format.Name();
  CHECK(n >= 0 && k >= 0) << "[" << n << ", " << k << "]";
  CHECK(Fits(format, k)) << "rows of " << k << " inputs are not whole blocks of " << format.Name();
  if (format.kind == FormatKind::kRemoved || n == 0 || k == 0) return 0;
  constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max() / 8;
  Wide row_bytes = 0;     // of every row
  Wide matrix_bytes = 0;  // beside them
  if (format.IsSparse()) {
    // A sparse weight takes at least a thousandth of two bits, so more weights exceed every limit.
    CHECK(Wide{n} * k < Wide{1} << 80)
        << "[" << n << ", " << k << "] in " << format.Name() << " exceeds 2^63 bits";
    const SparseLayout::Planes planes = SparseLayout::PlanesOf(format, n, k);
    matrix_bytes = planes.mask + planes.directory + planes.codes;
  } else if (format.IsBlock()) {
    row_bytes = Wide{k / format.BlockSize()} * BlockTraitsOf(format).bytes;
  } else {
    row_bytes = BytesForBits(Wide{k} * format.bits);
  }
  if (format.kind == FormatKind::kOneBit) matrix_bytes = (Wide{n} + k) * 2;
  const int64_t groups = format.IsInteger() ? format.GroupsPerRow(k) : 0;
  row_bytes += Wide{groups} * 2;
  if (format.zero_point) row_bytes += BytesForBits(Wide{groups} * format.bits);
  CHECK(matrix_bytes <= kMaxBytes &&
        (row_bytes == 0 || n <= (kMaxBytes - matrix_bytes) / row_bytes))
      << "[" << n << ", " << k << "] in " << format.Name() << " exceeds 2^63 bits";
  return static_cast<int64_t>((row_bytes * n + matrix_bytes) * 8);
}

}  // namespace bitbudget
