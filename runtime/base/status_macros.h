#ifndef BITBUDGET_RUNTIME_BASE_STATUS_MACROS_H_
#define BITBUDGET_RUNTIME_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define BB_RETURN_IF_ERROR(expr)                              \
  do {                                                        \
    if (::absl::Status bb_status = (expr); !bb_status.ok()) { \
      return bb_status;                                       \
    }                                                         \
  } while (false)

#define BB_CONCAT_INNER(a, b) a##b
#define BB_CONCAT(a, b) BB_CONCAT_INNER(a, b)

// Evaluates `expr` (an absl::StatusOr), returns its error or moves its value into `lhs`.
#define BB_ASSIGN_OR_RETURN(lhs, expr) \
  BB_ASSIGN_OR_RETURN_IMPL(BB_CONCAT(bb_status_or_, __LINE__), lhs, expr)
#define BB_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return tmp.status();            \
  lhs = *std::move(tmp)

#endif  // BITBUDGET_RUNTIME_BASE_STATUS_MACROS_H_
