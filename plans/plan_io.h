#ifndef BITBUDGET_PLANS_PLAN_IO_H_
#define BITBUDGET_PLANS_PLAN_IO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/plan.pb.h"

namespace bitbudget {

inline constexpr uint32_t kPlanFormatVersion = 1;

// Larger files are refused unread. The plan of a 100-layer model with its whole search trace takes
// about 1 MiB; a hostile file can make protobuf allocate some 75 times its size.
inline constexpr int64_t kMaxPlanFileBytes = int64_t{64} << 20;

// The canonical bytes of a plan: deterministic protobuf serialisation, -0.0 written as 0.
std::string SerializePlan(const plans::Plan& plan);

// The same plan as JSON (proto3 mapping, field names as in plan.proto, default values written).
// Parsing it gives the same canonical bytes. kInvalidArgument for strings that are not UTF-8, which
// JSON cannot hold and ValidatePlan refuses.
absl::StatusOr<std::string> PlanToJson(const plans::Plan& plan);

// Reads a plan from memory, binary or JSON (told apart by the first byte), and validates it.
// Unknown fields are refused: half a plan is worse than none. JSON may have the field names of
// earlier versions (json_names.h). Errors are one line that names `name` and the field.
//
// This checks a plan against itself only. plans/targets/plan_file.h reads plans for use.
absl::StatusOr<plans::Plan> ParsePlan(absl::string_view contents, const std::string& name);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_PLAN_IO_H_
