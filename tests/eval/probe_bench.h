#ifndef BITBUDGET_TESTS_EVAL_PROBE_BENCH_H_
#define BITBUDGET_TESTS_EVAL_PROBE_BENCH_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/eval/probes.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

using Tokens = std::vector<int32_t>;

inline constexpr ProbeRole kRoles[] = {
    ProbeRole::kCalibration, ProbeRole::kSearch, ProbeRole::kHeldOut};

inline const std::string kNovel = absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/novel-1m");

// A model to make probes for.
struct ProbeBench {
  explicit ProbeBench(const std::string& folder) {
    auto loaded = Model::Load(folder, 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
    transformer = std::make_unique<Transformer>(*model, model->config().max_position_embeddings);
    weights = std::make_unique<ReferenceWeights>(*model, 1);
  }

  absl::StatusOr<std::vector<Tokens>> TryPrompts(const ProbeMaker& maker,
                                                 ProbeRole role,
                                                 int64_t count,
                                                 int threads = 1) const {
    Progress progress;
    return maker.Prompts(role, count, {transformer.get(), weights.get(), threads}, &progress);
  }
  std::vector<Tokens> Prompts(const ProbeMaker& maker,
                              ProbeRole role,
                              int64_t count,
                              int threads = 1) const {
    const auto prompts = TryPrompts(maker, role, count, threads);
    EXPECT_TRUE(prompts.ok()) << prompts.status();
    return prompts.ok() ? *prompts : std::vector<Tokens>();
  }
  std::vector<Tokens> Prompts(const ProbeOptions& options, ProbeRole role, int64_t count) const {
    return Prompts(*Make(options), role, count);
  }

  std::unique_ptr<ProbeMaker> Make(const ProbeOptions& options) const {
    auto maker = ProbeMaker::Create(*model, options);
    EXPECT_TRUE(maker.ok()) << maker.status();
    return *std::move(maker);
  }

  absl::Status Refusal(const ProbeOptions& options) const {
    return ProbeMaker::Create(*model, options).status();
  }

  std::unique_ptr<Model> model;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<ReferenceWeights> weights;
};

inline ProbeBench TinyProbeBench(const TinyModelOptions& options = {}) {
  return ProbeBench(TinyModel(options).path());
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_EVAL_PROBE_BENCH_H_
