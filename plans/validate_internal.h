#ifndef BITBUDGET_PLANS_VALIDATE_INTERNAL_H_
#define BITBUDGET_PLANS_VALIDATE_INTERNAL_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "plans/plan.pb.h"
#include "runtime/tensor/format.h"

// Shared by the parts of ValidatePlan: validate.cc checks the decision and its sizes,
// validate_measurements.cc the measurements, validate_recovery.cc the recovery.
namespace bitbudget::internal {

// KL and log-perplexity are non-negative in exact arithmetic. Rounding log-probabilities of up to
// 100 nats to float (2^-24) leaves an error below this.
inline constexpr double kNatsSlack = 1e-5;

template <typename... Parts>
absl::Status Bad(const std::string& path, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", parts...));
}

inline int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

inline absl::StatusOr<Format> CheckFormat(const std::string& name, const std::string& path) {
  absl::StatusOr<Format> format = ParseFormat(name);
  if (!format.ok()) return Bad(path, format.status().message());
  return format;
}

// 64 lower-case hex digits.
bool IsFingerprint(const std::string& text);

// A source of probes and the SHA-256 of its file, in fields that begin with `path`.
absl::Status CheckSource(const std::string& source,
                         const std::string& fingerprint,
                         const std::string& path);

// An interval whose ends lie within [low, high].
absl::Status CheckInterval(const plans::Interval& interval,
                           const std::string& path,
                           double low,
                           double high);

enum class Intervals : uint8_t { kOptional, kRequired };
absl::Status CheckMetrics(const plans::Metrics& metrics,
                          const std::string& path,
                          int64_t completion_tokens,
                          Intervals intervals);
absl::Status CheckTextDivergence(const plans::TextDivergence& text, const std::string& path);

// Checks what a plan says of its recovery, if it had one. REQUIRES: all else is valid.
absl::Status CheckRecovery(const plans::Plan& plan);

// Checks the search trace, its metrics and the held-out evidence. REQUIRES: all else is valid.
absl::Status CheckMeasurements(const plans::Plan& plan);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_VALIDATE_INTERNAL_H_
