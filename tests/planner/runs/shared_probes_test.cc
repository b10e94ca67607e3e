#include "planner/runs/shared_probes.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/planner/planner_test_util.h"

namespace bitbudget {
namespace {

// Rows count in gradients as their predictions do in the loss (Statistic::kLoss): not at all up to
// the 16th token, once along the rest of the prompt, kCompletionWeight times along the completion.
TEST(SharedProbes, RowsWeighAsInTheLoss) {
  const LoadedModel model;
  ProbeOptions options;
  options.prefix_tokens = 20;
  options.completion_tokens = 5;
  const auto maker = ProbeMaker::Create(*model, options);
  ASSERT_TRUE(maker.ok()) << maker.status();
  const auto workspace = Workspace::Create(*model, WorkspaceOptions(), (*maker)->context());
  ASSERT_TRUE(workspace.ok()) << workspace.status();
  bitbudget::Run run;
  Progress progress;
  const auto probes =
      SharedProbes::Create(**maker, ProbeRole::kSearch, 3, workspace->get(), &run, &progress);
  ASSERT_TRUE(probes.ok()) << probes.status();
  const WeightedSequences& sequences = (*probes)->sequences();
  ASSERT_EQ(sequences.tokens.size(), 3u);
  const auto evaluation =
      (*probes)->EvaluateFromScratch(Assignment((*model).components().size(), kFormatF32));
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<float>& weights = sequences.weights[i];
    ASSERT_EQ(weights.size(), sequences.tokens[i].size());
    double text = 0;
    double completion = 0;
    for (size_t row = 0; row < weights.size(); ++row) {
      // Row r predicts token r + 1.
      const double wanted = row + 1 < 16 ? 0 : row + 1 < 20 ? 1 : kCompletionWeight;
      EXPECT_EQ(weights[row], wanted) << row;
      (row + 1 < 20 ? text : completion) += weights[row];
    }
    EXPECT_EQ(text, (*evaluation)[i].text.tokens);
    EXPECT_EQ(completion, kCompletionWeight * (*evaluation)[i].tokens);
  }
  EXPECT_NE(sequences.First(2).Sha256(), sequences.Sha256());
  EXPECT_EQ(sequences.First(9).Sha256(), sequences.Sha256());
}

}  // namespace
}  // namespace bitbudget
