#include <gtest/gtest.h>

#include <set>
#include <string>

#include "planner/jobs/plan_record.h"
#include "planner/runs/run_directory.h"
#include "runtime/eval/probes.h"
#include "tests/planner/planner_test_util.h"

namespace bitbudget {
namespace {

// The fingerprint covers config.json and the weights, but other files decide these too.
TEST(RunIdentity, RunsOfOtherFirstOrEndTokensHaveOtherStores) {
  ModelWithText model;
  const auto store = [&] {
    model.Load();
    const auto maker = ProbeMaker::Create(*model, {});
    EXPECT_TRUE(maker.ok()) << maker.status();
    return StoreName(RunIdentity(*model, {}, **maker));
  };
  const std::string fingerprint = (*model).Fingerprint();
  std::set<std::string> stores = {store()};
  EXPECT_FALSE(stores.insert(store()).second);
  WriteTestFile(model.files.path() + "/tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_TRUE(stores.insert(store()).second);
  WriteTestFile(model.files.path() + "/generation_config.json", R"({"eos_token_id": [2, 5]})");
  EXPECT_TRUE(stores.insert(store()).second);
  EXPECT_EQ((*model).Fingerprint(), fingerprint);
}

}  // namespace
}  // namespace bitbudget
