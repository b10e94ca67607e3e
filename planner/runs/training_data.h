#ifndef BITBUDGET_PLANNER_RUNS_TRAINING_DATA_H_
#define BITBUDGET_PLANNER_RUNS_TRAINING_DATA_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// Of how many sequences one is kept aside.
inline constexpr int64_t kKeptAsideEvery = 8;

struct TrainingData {
  RecoveryData sequences;
  int64_t text_sequences = 0;  // of both parts
  int64_t sampled_sequences = 0;
  int64_t tokens = 0;
};

// `count` sequences of as many tokens as the maker's probes have. Where the maker has a text, its
// windows of the roles calibration and search, drawn by the seed, and the model's own text for what
// they do not fill: a random first token, four greedy ones, then sampling at temperature 1 (the
// recipe of LLM-QAT and OneBit). Held-out windows and their first tokens are in no sequence. Every
// eighth sequence is kept aside. Errors: those of sampling; kCancelled on interruption. REQUIRES:
// count >= kKeptAsideEvery.
absl::StatusOr<TrainingData> MakeTrainingData(const ProbeMaker& maker,
                                              int64_t count,
                                              Workspace* workspace,
                                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_TRAINING_DATA_H_
