#include "runtime/tensor/format.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/tensor/block_format.h"

namespace bitbudget {
namespace {

constexpr Format Integer(int bits, int group, bool zero_point) {
  return {FormatKind::kInteger, bits, group, zero_point};
}

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
};

// Exact for every pair of int64_t: n * k * 32 has at most 131 bits only when no machine could hold
// the matrix, so a row is computed first and checked before it is multiplied by n.
using Wide = __int128;

Wide BytesForBits(Wide bits) { return (bits + 7) / 8; }

}  // namespace

int64_t Format::BlockSize() const { return IsBlock() ? BlockTraitsOf(kind).block : 1; }

int64_t Format::GroupSize(int64_t k) const {
  if (IsFloat()) return 0;
  if (IsBlock()) return BlockTraitsOf(kind).group;
  return group == 0 ? k : group;
}

int64_t Format::GroupsPerRow(int64_t k) const {
  if (IsFloat() || k == 0) return 0;
  const int64_t size = GroupSize(k);
  return k / size + (k % size != 0);
}

bool Format::HasMinimums() const { return IsBlock() && BlockTraitsOf(kind).minimum; }

std::string Format::Name() const {
  switch (kind) {
    case FormatKind::kF32:
      return "f32";
    case FormatKind::kF16:
      return "f16";
    case FormatKind::kBF16:
      return "bf16";
    default:
      break;
  }
  if (IsBlock()) return BlockTraitsOf(kind).name;
  std::string name = absl::StrCat("int", bits, zero_point ? "z" : "");
  if (group != 0) absl::StrAppend(&name, "-g", group);
  return name;
}

std::span<const Format> SupportedFormats() { return kSupported; }

bool IsSupported(const Format& format) {
  return std::find(std::begin(kSupported), std::end(kSupported), format) != std::end(kSupported);
}

absl::StatusOr<Format> ParseFormat(absl::string_view name) {
  for (const Format& format : kSupported) {
    if (format.Name() == name) return format;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown format \"",
                   absl::CEscape(name),
                   "\"; supported: ",
                   absl::StrJoin(kSupported, " ", [](std::string* out, const Format& format) {
                     absl::StrAppend(out, format.Name());
                   })));
}

int64_t SizeBits(const Format& format, int64_t n, int64_t k) {
  CHECK(IsSupported(format)) << "no size is defined for " << format.Name();
  CHECK(n >= 0 && k >= 0) << "[" << n << ", " << k << "]";
  CHECK(Fits(format, k)) << "rows of " << k << " inputs are not whole blocks of " << format.Name();
  Wide row_bytes = format.IsBlock()
                       ? Wide{k / format.BlockSize()} * BlockTraitsOf(format.kind).bytes
                       : BytesForBits(Wide{k} * format.bits);
  const int64_t groups = format.IsInteger() ? format.GroupsPerRow(k) : 0;
  row_bytes += Wide{groups} * 2;
  if (format.zero_point) row_bytes += BytesForBits(Wide{groups} * format.bits);
  constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max() / 8;
  CHECK(row_bytes == 0 || n <= kMaxBytes / row_bytes)
      << "[" << n << ", " << k << "] in " << format.Name() << " exceeds 2^63 bits";
  return static_cast<int64_t>(row_bytes * n * 8);
}

}  // namespace bitbudget
