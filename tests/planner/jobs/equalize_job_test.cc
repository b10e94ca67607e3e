#include "planner/jobs/equalize_job.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

class EqualizeJobTest : public testing::Test {
 protected:
  EqualizeJobOptions Options() const {
    EqualizeJobOptions options;
    options.format = *ParseFormat("int3z-g64");
    options.out = dir_.path() + "/out";
    options.workspace.probes.source = ProbeSource::kText;
    options.workspace.probes.path = model_.text;
    options.workspace.probes.prefix_tokens = 20;
    options.workspace.probes.completion_tokens = 10;
    options.probe_count = 8;
    options.iterations = 3;
    return options;
  }

  ModelWithText model_;
  TempDir dir_;
};

TEST_F(EqualizeJobTest, WritesAModelThatIsTheSame) {
  Progress silent;
  const auto report = RunEqualizeJob(*model_, Options(), &silent);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->layers.size(), 2u);
  for (const LayerEqualization& layer : report->layers) {
    EXPECT_LE(layer.held_error_after, layer.held_error_before);
  }
  // Differences of logits of a few hundred float roundings, squared.
  EXPECT_LT(report->divergence, 1e-9);
  EXPECT_GE(report->largest_divergence, report->divergence);
  EXPECT_TRUE(std::filesystem::exists(Options().out + "/tokenizer.model"));
}

TEST_F(EqualizeJobTest, RefusesWhatItCannotDo) {
  Progress silent;
  EqualizeJobOptions options = Options();
  options.format = kFormatBF16;
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {"format bf16", "integer and block formats"});
  options = Options();
  options.format = *ParseFormat("q4_k");  // 256 inputs per layer
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {"q4_k", "256"});
  options = Options();
  options.out = model_.files.path();
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {model_.files.path(), "not an empty folder"});
}

TEST_F(EqualizeJobTest, LeavesNothingWhenInterrupted) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return --calls_left < 0; }
    mutable std::atomic<int> calls_left = 0;
  };
  for (const int calls : {0, 1, 2, 5}) {
    Stop stop;
    stop.calls_left = calls;
    EXPECT_EQ(RunEqualizeJob(*model_, Options(), &stop).status().code(),
              absl::StatusCode::kCancelled);
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  }
}

}  // namespace
}  // namespace bitbudget
