#include "planner/workspace/budget.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
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

// In any case; longer suffixes first: "kib" ends in "b" too. A single letter is decimal, which
// never takes more than is there where the binary unit was meant.
constexpr Suffix kSuffixes[] = {
    {"bpw", Budget::Unit::kBitsPerWeight, 1},
    {"%", Budget::Unit::kShare, 0.01},
    {"kib", Budget::Unit::kBytes, 1024.0},
    {"mib", Budget::Unit::kBytes, 1024.0 * 1024},
    {"gib", Budget::Unit::kBytes, 1024.0 * 1024 * 1024},
    {"tib", Budget::Unit::kBytes, 1024.0 * 1024 * 1024 * 1024},
    {"kb", Budget::Unit::kBytes, 1e3},
    {"mb", Budget::Unit::kBytes, 1e6},
    {"gb", Budget::Unit::kBytes, 1e9},
    {"tb", Budget::Unit::kBytes, 1e12},
    {"b", Budget::Unit::kBytes, 1},
    {"k", Budget::Unit::kBytes, 1e3},
    {"m", Budget::Unit::kBytes, 1e6},
    {"g", Budget::Unit::kBytes, 1e9},
    {"t", Budget::Unit::kBytes, 1e12},
};

// 8 PiB: below this a double holds every whole number of bytes.
constexpr double kMaxBytes = 9007199254740992.0;

// SimpleAtod alone would also take spaces and names ("nan").
bool IsNumber(absl::string_view text, double* value) {
  return text.find_first_not_of("0123456789.eE+-") == absl::string_view::npos &&
         absl::SimpleAtod(text, value) && std::isfinite(*value);
}

}  // namespace

int64_t Budget::Bytes(int64_t parameter_count, int64_t stored_bytes) const {
  double bytes = amount;
  if (unit == Unit::kBitsPerWeight) bytes = amount * static_cast<double>(parameter_count) / 8;
  if (unit == Unit::kShare) bytes = amount * static_cast<double>(stored_bytes);
  bytes = std::min(bytes, kMaxBytes);
  // A budget like 3.3GB is a whole number of bytes that double arithmetic may miss by some ulps.
  const double nearest = std::round(bytes);
  const bool is_whole = std::abs(bytes - nearest) <= 1e-15 * bytes;
  return static_cast<int64_t>(is_whole ? nearest : std::floor(bytes));
}

absl::StatusOr<Budget> ParseBudget(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  for (const Suffix& suffix : kSuffixes) {
    absl::string_view number = lower;
    if (!absl::ConsumeSuffix(&number, suffix.text)) continue;
    absl::ConsumeSuffix(&number, " ");  // "400 KB"
    double amount = 0;
    if (IsNumber(number, &amount) && amount > 0 && amount * suffix.factor < kMaxBytes) {
      return Budget{suffix.unit, amount * suffix.factor, std::string(text)};
    }
    break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("budget '",
                   text,
                   "' is not understood; write bits per weight (4.5bpw), a size (3.2GiB, 500MB, "
                   "6G, 12345678B) or a share of the model as it stands (60%)"));
}

absl::StatusOr<SparsityGoal> ParseSparsityGoal(absl::string_view text) {
  absl::string_view number = text;
  double percent = 0;
  if (absl::ConsumeSuffix(&number, "%") && IsNumber(number, &percent) && percent > 0 &&
      percent <= 100) {
    const int permille = static_cast<int>(std::lround(percent * 10));
    if (permille >= 1) return SparsityGoal{{permille}, std::string(text)};
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "sparsity '", text, "' is not a share of zeros above 0 and up to 100 %, like 60% or 62.5%"));
}

}  // namespace bitbudget
