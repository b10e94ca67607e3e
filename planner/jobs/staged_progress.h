#ifndef BITBUDGET_PLANNER_JOBS_STAGED_PROGRESS_H_
#define BITBUDGET_PLANNER_JOBS_STAGED_PROGRESS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "planner/jobs/plan_work.h"
#include "runtime/base/progress.h"

namespace bitbudget {

// Tells another Progress how far the whole job is (Progress::Overall) as its phases come and go.
// A phase belongs to the first stage from the present one on that has its name and work of it
// left. What a stage leaves when a later one begins counts as done where it was recalled from a
// store, and is taken from the total where it was counted at its limit; so the share never falls.
// The time left follows from what the work took so far, by kinds, and at first from
// `pass_seconds`. Steps that came much faster than work can be were recalled: they are done, and
// tell nothing of the speed.
class StagedProgress final : public Progress {
 public:
  // `inner` outlives it and is told at once. `now_s`: a steady clock; empty: the machine's.
  StagedProgress(PlanWork work,
                 double pass_seconds,
                 Progress* inner,
                 std::function<double()> now_s = {});
  // Tells that the job is over.
  ~StagedProgress() override;
  StagedProgress(const StagedProgress&) = delete;
  StagedProgress& operator=(const StagedProgress&) = delete;

  // The search of one of several jobs begins: what comes belongs to no later one's.
  void BeginJob(int job);
  void Begin(absl::string_view phase, int64_t total) override;
  void Update(int64_t done, absl::string_view note) override;
  void Within(double steps) override;
  void End() override;
  void Message(absl::string_view line) override { inner_.Message(line); }
  bool Interrupted() const override { return inner_.Interrupted(); }

  // All work is done.
  void Finish();

  // Whether the running phase is one that the work tells of.
  bool knows_phase() const { return known_; }

 private:
  struct Part {
    PhaseWork work;
    double used = 0;  // of work.times
  };
  struct Stage {
    std::string name;
    int job;
    std::vector<Part> parts;
  };
  struct Speed {
    double passes = 0;
    double seconds = 0;
  };

  // The first part that a phase may be of, from the present stage on.
  void Find(absl::string_view phase);
  void EnterStage(size_t stage);
  // `steps` of the running phase are done.
  void Reach(double steps);
  void Learn(WorkKind kind, double passes);
  double SecondsPerPass(WorkKind kind) const;
  void Tell();

  Progress& inner_;
  const std::function<double()> now_s_;
  const double pass_seconds_;
  const double first_total_;
  std::vector<Stage> stages_;
  size_t stage_ = 0;
  int job_ = WorkStage::kShared;
  Part* part_ = nullptr;  // of the running phase
  bool known_ = false;
  double base_ = 0;    // part_->used when the phase began
  int64_t total_ = 0;  // its steps
  int64_t done_ = 0;
  std::array<Speed, kWorkKinds> speeds_;
  double learned_s_ = 0;  // when work was last counted
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_STAGED_PROGRESS_H_
