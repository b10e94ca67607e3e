#ifndef BITBUDGET_PLANS_PLAN_IO_H_
#define BITBUDGET_PLANS_PLAN_IO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plans/plan.pb.h"

namespace bitbudget {

inline constexpr uint32_t kPlanFormatVersion = 1;

// The canonical bytes of a plan: deterministic protobuf serialisation.
std::string SerializePlan(const plans::Plan& plan);

// The same plan as JSON (proto3 mapping, proto field names, fields with default values written).
absl::StatusOr<std::string> PlanToJson(const plans::Plan& plan);

// Reads a plan, binary or JSON (told apart by the first byte), and validates it. Errors name the
// file and the field.
absl::StatusOr<plans::Plan> ReadPlan(const std::string& path);

// Validates, then writes atomically: JSON when the name ends in .json, else binary.
absl::Status WritePlan(const plans::Plan& plan, const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_PLAN_IO_H_
