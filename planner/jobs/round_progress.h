#ifndef BITBUDGET_PLANNER_JOBS_ROUND_PROGRESS_H_
#define BITBUDGET_PLANNER_JOBS_ROUND_PROGRESS_H_

#include <chrono>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"
#include "search/retrainer.h"

namespace bitbudget {

// Shows the training after a round of a search: phases say which round it is, and notes when all
// rounds will have ended, if those to come take as long as this one.
class RoundProgress final : public Progress {
 public:
  // `round_seconds`: what the round took ahead of its training, which takes `steps` steps.
  RoundProgress(Progress* progress, const RoundsDone& rounds, int64_t steps, double round_seconds)
      : progress_(*progress), rounds_(rounds), steps_(steps), round_seconds_(round_seconds) {}

  void Begin(absl::string_view phase, int64_t total) override;
  void Update(int64_t done, absl::string_view note) override;
  void Within(double steps) override { progress_.Within(steps); }
  void End() override;
  void Overall(const OverallProgress* job) override { progress_.Overall(job); }
  void Message(absl::string_view line) override { progress_.Message(line); }
  bool Interrupted() const override { return progress_.Interrupted(); }

 private:
  Progress& progress_;
  const RoundsDone rounds_;
  const int64_t steps_;
  const double round_seconds_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  int64_t ended_ = 0;  // steps of phases that have ended
  int64_t total_ = 0;  // of this one
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_ROUND_PROGRESS_H_
