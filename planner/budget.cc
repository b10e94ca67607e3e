#include "planner/budget.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace bitbudget {
namespace {

struct Suffix {
  const char* text;
  Budget::Unit unit;
  double factor;
};

// Longer suffixes first: "KiB" ends in "B" too.
constexpr Suffix kSuffixes[] = {
    {"bpw", Budget::Unit::kBitsPerWeight, 1},
    {"%", Budget::Unit::kShare, 0.01},
    {"KiB", Budget::Unit::kBytes, 1024.0},
    {"MiB", Budget::Unit::kBytes, 1024.0 * 1024},
    {"GiB", Budget::Unit::kBytes, 1024.0 * 1024 * 1024},
    {"TiB", Budget::Unit::kBytes, 1024.0 * 1024 * 1024 * 1024},
    {"KB", Budget::Unit::kBytes, 1e3},
    {"MB", Budget::Unit::kBytes, 1e6},
    {"GB", Budget::Unit::kBytes, 1e9},
    {"TB", Budget::Unit::kBytes, 1e12},
    {"B", Budget::Unit::kBytes, 1},
};

constexpr double kMaxBytes = 1e18;

}  // namespace

int64_t Budget::Bytes(int64_t parameter_count, int64_t stored_bytes) const {
  double bytes = amount;
  if (unit == Unit::kBitsPerWeight) bytes = amount * static_cast<double>(parameter_count) / 8;
  if (unit == Unit::kShare) bytes = amount * static_cast<double>(stored_bytes);
  // A budget like 4.5 bpw may be a whole number of bytes that double arithmetic misses by an ulp.
  return static_cast<int64_t>(std::floor(std::min(bytes * (1 + 1e-15), kMaxBytes)));
}

absl::StatusOr<Budget> ParseBudget(absl::string_view text) {
  for (const Suffix& suffix : kSuffixes) {
    absl::string_view number = text;
    if (!absl::ConsumeSuffix(&number, suffix.text)) continue;
    double amount = 0;
    const bool is_number =
        !number.empty() && !absl::StrContains(number, ' ') && absl::SimpleAtod(number, &amount);
    if (is_number && std::isfinite(amount) && amount > 0 && amount * suffix.factor <= kMaxBytes) {
      return Budget{suffix.unit, amount * suffix.factor, std::string(text)};
    }
    break;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "budget '",
      text,
      "' is not understood; write bits per weight (4.5bpw), a size (3.2GiB, 500MB, 12345678B) or a "
      "share of the model as it stands (60%)"));
}

}  // namespace bitbudget
