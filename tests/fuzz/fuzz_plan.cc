// A plan from a stranger, binary or JSON: any bytes give a valid plan or one line, and a valid plan
// survives every form it can take.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "plans/plan_io.h"
#include "plans/render.h"
#include "plans/targets/plan_file.h"
#include "plans/validate.h"

namespace {

void Require(bool condition) {
  if (!condition) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto plan = bitbudget::ParseCheckedPlan(
      absl::string_view(reinterpret_cast<const char*>(data), size), "plan.pb");
  if (!plan.ok()) {
    const absl::string_view message = plan.status().message();
    Require(message.find('\n') == absl::string_view::npos && message.size() <= 1000);
    return 0;
  }
  Require(bitbudget::PlanSizeBytes(*plan) <= plan->budget().bytes());

  const std::string bytes = bitbudget::SerializePlan(*plan);
  const auto from_bytes = bitbudget::ParseCheckedPlan(bytes, "plan.pb");
  Require(from_bytes.ok() && bitbudget::SerializePlan(*from_bytes) == bytes);

  const auto json = bitbudget::PlanToJson(*plan);
  Require(json.ok());
  const auto from_json = bitbudget::ParseCheckedPlan(*json, "plan.json");
  Require(from_json.ok() && bitbudget::SerializePlan(*from_json) == bytes);

  Require(!bitbudget::RenderPlan(*plan).empty());
  Require(bitbudget::RenderDiff(*plan, "a", *from_json, "b").ok());
  return 0;
}
