#ifndef BITBUDGET_TESTS_PLANNER_JOBS_APPLY_TEST_UTIL_H_
#define BITBUDGET_TESTS_PLANNER_JOBS_APPLY_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "planner/jobs/apply_job.h"
#include "planner/jobs/plan_job.h"
#include "planner/workspace/workspace.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/random_tokens.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {

inline constexpr int64_t kTokens = 40;

// Logits of a fixed sequence under an assignment, every product in f32.
inline std::vector<float> Logits(const Model& model,
                                 const Assignment& assignment,
                                 const std::string& encoder = "clip") {
  WorkspaceOptions options;
  options.activations = Activations::kF32;
  options.encoder = encoder;
  const auto workspace = *Workspace::Create(model, options, kTokens);
  AssignmentWeights weights = workspace->bank()->Weights(assignment);
  const ModelConfig& config = model.config();
  const int last = NumStages(config) - 1;
  const std::vector<int32_t> tokens = RandomTokens(kTokens, config.vocab_size, 5);
  std::vector<float> x(kTokens * config.hidden_size);
  std::vector<float> logits(kTokens * config.vocab_size);
  TransformerWorkspace scratch;
  const SequenceRows whole{kTokens, nullptr};
  for (int stage = 0; stage <= last; ++stage) {
    const auto lease = weights.Pin(stage, stage + 1, 1);
    EXPECT_TRUE(lease.ok()) << lease.status();
    if (stage == 0) {
      workspace->transformer().Embed(lease->set(), tokens, x.data());
    } else if (stage < last) {
      workspace->transformer().RunStage(stage, lease->set(), {&whole, 1}, x.data(), &scratch);
    } else {
      workspace->transformer().Logits(
          lease->set(), x.data(), config.hidden_size, kTokens, logits.data(), &scratch);
    }
  }
  return logits;
}

inline Assignment Stored(const Model& model) {
  Assignment assignment;
  for (size_t c = 0; c < model.components().size(); ++c) {
    assignment.push_back(model.Weight(static_cast<ComponentId>(c)).format);
  }
  return assignment;
}

// A plan that gives every component this format.
inline plans::Plan PlanOf(const Model& model, const std::string& format) {
  PlanOptions options = SmallJob("uniform", "400%");
  options.constraints.formats = {*ParseFormat(format)};
  Progress progress;
  const auto plan = RunPlanJob(model, options, &progress);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

inline absl::Status Apply(const Model& model,
                          const plans::Plan& plan,
                          const std::string& out,
                          ApplyOptions options = {}) {
  options.out = out;
  Progress progress;
  return ApplyPlan(model, plan, options, &progress).status();
}

inline std::unique_ptr<Model> Load(const std::string& path) {
  auto model = Model::Load(path, 1);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

class ApplyTest : public testing::Test {
 protected:
  LoadedModel tiny_{[] {
    TinyModelOptions options = SmallModelOptions();
    options.dtype = kFormatBF16;
    return options;
  }()};
  TempDir dir_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANNER_JOBS_APPLY_TEST_UTIL_H_
