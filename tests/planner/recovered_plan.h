#ifndef BITBUDGET_TESTS_PLANNER_RECOVERED_PLAN_H_
#define BITBUDGET_TESTS_PLANNER_RECOVERED_PLAN_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "planner/jobs/planned_model.h"
#include "planner/output/recovered_file.h"
#include "planner/workspace/checked_encoder.h"
#include "plans/plan.pb.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {

// Codes that no plan of encoder clip has: those of round-to-nearest, for every component that does
// not keep its stored weights.
inline ComponentEncodings OtherCodes(const Model& model, const plans::Plan& plan) {
  const std::unique_ptr<Encoder> encoder = MakeRtnEncoder();
  const Assignment assignment = *AssignmentOfPlan(plan, model);
  ComponentEncodings encodings;
  for (size_t c = 0; c < assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    if (assignment[c] == model.Weight(id).format) continue;
    absl::StatusOr<Encoding> encoding = encoder->Encode(model.Weight(id), assignment[c], {}, 1);
    EXPECT_TRUE(encoding.ok()) << encoding.status();
    encodings[id] = *std::move(encoding);
  }
  return encodings;
}

// `plan` as a recovery that found these codes would leave it, with their file, ready to be written
// to `path`.
inline plans::Plan WithCodes(const Model& model,
                             plans::Plan plan,
                             const ComponentEncodings& encodings,
                             const std::string& path,
                             const VectorsByLayer& vectors = {}) {
  const std::string file = RecoveredFileFor(path);
  Progress progress;
  const absl::StatusOr<std::string> hash =
      WriteRecoveredFile(model, encodings, vectors, file, &progress);
  EXPECT_TRUE(hash.ok()) << hash.status();
  for (const auto& [id, encoding] : encodings) {
    plan.mutable_components(id)->set_encoding_sha256(EncodingSha256(encoding));
  }
  *plan.mutable_recovery() = RecoveredSmallPlan(1).recovery();
  plan.mutable_recovery()->set_weights_file(file.substr(file.rfind('/') + 1));
  plan.mutable_recovery()->set_weights_sha256(*hash);
  return plan;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANNER_RECOVERED_PLAN_H_
