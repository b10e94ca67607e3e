#include "planner/runs/training_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "tests/planner/planner_test_util.h"

namespace bitbudget {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

class TrainingDataTest : public testing::Test {
 protected:
  // Probes of 6 + 10 tokens, from the text or from the model.
  void Open(const std::string& text, uint64_t seed = 0) {
    WorkspaceOptions options;
    options.probes.prefix_tokens = 6;
    options.probes.completion_tokens = 10;
    options.probes.seed = seed;
    options.probes.path = text;
    options.probes.source = text.empty() ? ProbeSource::kModel : ProbeSource::kText;
    maker_ = *ProbeMaker::Create(*model_, options.probes);
    workspace_ = *Workspace::Create(*model_, options, maker_->context());
  }

  TrainingData Make(int64_t count) {
    Progress progress;
    absl::StatusOr<TrainingData> data =
        MakeTrainingData(*maker_, count, workspace_.get(), &progress);
    EXPECT_TRUE(data.ok()) << data.status();
    return data.ok() ? *std::move(data) : TrainingData();
  }

  static Sequences All(const TrainingData& data) {
    Sequences all = data.sequences.training;
    all.insert(all.end(), data.sequences.kept_aside.begin(), data.sequences.kept_aside.end());
    return all;
  }

  ModelWithText model_;
  std::unique_ptr<ProbeMaker> maker_;
  std::unique_ptr<Workspace> workspace_;
};

TEST_F(TrainingDataTest, KeepsEveryEighthSequenceAside) {
  Open("");
  const TrainingData data = Make(19);
  EXPECT_EQ(data.sequences.training.size(), 17u);
  EXPECT_EQ(data.sequences.kept_aside.size(), 2u);
  EXPECT_EQ(data.text_sequences, 0);
  EXPECT_EQ(data.sampled_sequences, 19);
  EXPECT_EQ(data.tokens, 19 * 16);
  const Sequences all = All(data);
  EXPECT_EQ(std::set<std::vector<int32_t>>(all.begin(), all.end()).size(), 19u);
  for (const std::vector<int32_t>& sequence : all) EXPECT_EQ(sequence.size(), 16u);
}

TEST_F(TrainingDataTest, TakesTextThatIsNotHeldOutAndSamplesTheRest) {
  Open(model_.text);
  const size_t free = maker_->TextWindows(ProbeRole::kCalibration, 1000).size() +
                      maker_->TextWindows(ProbeRole::kSearch, 1000).size();
  ASSERT_GE(free, 10u);
  const int64_t count = static_cast<int64_t>(free) + 9;
  const TrainingData data = Make(count);
  EXPECT_EQ(data.text_sequences, static_cast<int64_t>(free));
  EXPECT_EQ(data.sampled_sequences, 9);
  EXPECT_EQ(data.tokens, count * 16);
  const Sequences all = All(data);
  for (const std::vector<int32_t>& window : maker_->TextWindows(ProbeRole::kHeldOut, 1000)) {
    EXPECT_EQ(std::count(all.begin(), all.end(), window), 0);
  }
  // Both parts hold both kinds.
  const Sequences search = maker_->TextWindows(ProbeRole::kSearch, 1000);
  for (const Sequences& part : {data.sequences.training, data.sequences.kept_aside}) {
    EXPECT_TRUE(std::any_of(part.begin(), part.end(), [&](const std::vector<int32_t>& sequence) {
      return std::count(search.begin(), search.end(), sequence) > 0;
    }));
  }
}

TEST_F(TrainingDataTest, TheSeedDrawsFromALongerText) {
  Open(model_.text);
  const Sequences first = All(Make(8));
  EXPECT_EQ(first, All(Make(8)));
  Open(model_.text, /*seed=*/1);
  EXPECT_NE(first, All(Make(8)));
}

}  // namespace
}  // namespace bitbudget
