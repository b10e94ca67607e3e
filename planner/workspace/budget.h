#ifndef BITBUDGET_PLANNER_WORKSPACE_BUDGET_H_
#define BITBUDGET_PLANNER_WORKSPACE_BUDGET_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/problem.h"

namespace bitbudget {

// A memory budget as users write it. It covers the whole model: embedding, head, norms and biases
// included, tied weights once.
struct Budget {
  enum class Unit : uint8_t { kBytes, kBitsPerWeight, kShare };
  Unit unit = Unit::kBytes;
  double amount = 0;  // bytes, bits per weight, or share of the stored size (0.6 for "60%")
  std::string text;   // as written

  // The limit in whole bytes.
  int64_t Bytes(int64_t parameter_count, int64_t stored_bytes) const;
};

// A share of zeros as users write it, in place of a budget.
struct SparsityGoal {
  SparsityTarget target;
  std::string text;  // as written
};

// "60%" or "62.5%": above 0 and at most 100. kInvalidArgument naming the text.
absl::StatusOr<SparsityGoal> ParseSparsityGoal(absl::string_view text);

// "4.5bpw", "60%", "12345678B", "900KiB", "500MiB", "3.2GiB" or the decimal "500MB", "3.4GB", "6G";
// in any case, with or without a space before the unit. Errors: kInvalidArgument naming the text
// and the accepted forms.
absl::StatusOr<Budget> ParseBudget(absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_BUDGET_H_
