#include "planner/workspace/setup.h"

#include "scoring/gradient_pass.h"
#include "scoring/token_weights.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

TEST(SetUpWorkspace, MakesRoomForTheGradientsThatWeighTokens) {
  const LoadedModel model;
  WorkspaceOptions options = SmallJob("uniform").workspace;
  options.memory_bytes = int64_t{4} << 30;
  options.encoder = "gptq";
  const auto plain = SetUpWorkspace(*model, options, {});
  ASSERT_TRUE(plain.ok()) << plain.status();
  options.encoder = "gptq-guided";
  const auto guided = SetUpWorkspace(*model, options, {});
  ASSERT_TRUE(guided.ok()) << guided.status();
  const int64_t bytes = GradientPassBytes(
      (*model).config(), kTokenWeightBatch + guided->maker->context(), guided->maker->context(), 0);
  EXPECT_LT(plain->memory.streams, bytes);
  EXPECT_GE(guided->memory.streams, bytes);
  options.memory_bytes = bytes;
  ExpectError(SetUpWorkspace(*model, options, {}).status(),
              absl::StatusCode::kResourceExhausted,
              {"at least", "more memory"});
}

}  // namespace
}  // namespace bitbudget
