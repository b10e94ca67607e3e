#include "planner/runs/training_data.h"

#include <glog/logging.h>

#include <memory>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

constexpr uint64_t kWindowStream = 4;  // of the seed; ProbeMaker has 1 and 2, the layer order 3

// Up to `count` windows of the text that may be trained on.
Sequences DrawWindows(const ProbeMaker& maker, int64_t count, uint64_t seed) {
  Sequences windows;
  for (const ProbeRole role : {ProbeRole::kCalibration, ProbeRole::kSearch}) {
    for (std::vector<int32_t>& window : maker.TextWindows(role, count)) {
      windows.push_back(std::move(window));
    }
  }
  Random(seed, {kWindowStream}).Shuffle(windows);
  if (static_cast<int64_t>(windows.size()) > count) windows.resize(count);
  return windows;
}

// Whole sequences that the model writes itself.
absl::StatusOr<Sequences> Sample(int64_t length,
                                 int64_t count,
                                 Workspace* workspace,
                                 Progress* progress) {
  ProbeOptions options;
  options.prefix_tokens = length;
  options.completion_tokens = 1;
  options.seed = workspace->options().probes.seed;
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(workspace->model(), options));
  return maker->Prompts(ProbeRole::kCalibration, count, workspace->sampler(), progress);
}

}  // namespace

absl::StatusOr<TrainingData> MakeTrainingData(const ProbeMaker& maker,
                                              int64_t count,
                                              Workspace* workspace,
                                              Progress* progress) {
  CHECK_GE(count, kKeptAsideEvery);
  TrainingData data;
  Sequences all = DrawWindows(maker, count, workspace->options().probes.seed);
  data.text_sequences = static_cast<int64_t>(all.size());
  data.sampled_sequences = count - data.text_sequences;
  if (data.sampled_sequences > 0) {
    BB_ASSIGN_OR_RETURN(Sequences sampled,
                        Sample(maker.context(), data.sampled_sequences, workspace, progress));
    for (std::vector<int32_t>& sequence : sampled) all.push_back(std::move(sequence));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    data.tokens += static_cast<int64_t>(all[i].size());
    const bool aside = static_cast<int64_t>(i) % kKeptAsideEvery == kKeptAsideEvery - 1;
    (aside ? data.sequences.kept_aside : data.sequences.training).push_back(std::move(all[i]));
  }
  return data;
}

}  // namespace bitbudget
