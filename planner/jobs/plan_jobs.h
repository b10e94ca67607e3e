#ifndef BITBUDGET_PLANNER_JOBS_PLAN_JOBS_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_JOBS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/held_out.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_problem.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/plan_search.h"
#include "planner/jobs/staged_progress.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/setup.h"

namespace bitbudget {

// Plan jobs of one model in one run, which share nearly all of their parts. They are searched for
// one by one while the search probes are there, and compared on held-out probes.
class PlanJobs {
 public:
  struct Job {
    PlanOptions options;
    PlanProblem made;
    std::optional<int64_t> id = {};  // in the run's store
    PlanFindings findings = {};
    std::optional<Format> uniform = {};  // the best that meets the limit
    std::vector<Continuation> continuations = {};
    bool complete = false;  // searched for and measured

    bool met() const { return findings.search.outcome == SearchOutcome::kBudgetMet; }
  };

  // Everything passed in outlives the jobs.
  PlanJobs(const Model& model, Run* run, Progress* progress)
      : model_(model), run_(*run), progress_(progress) {}

  // What all jobs share: `options` but for limit, search, scorer and costs. `needs`: what they take
  // of a workspace. `memory`, unless null, is set to how memory was divided.
  absl::Status SetUp(const PlanOptions& options, const WorkspaceNeeds& needs, MemoryPlan* memory);
  // Progress with an estimate for all of the work.
  void Stage(const PlanWork& work);
  // The search of one of the staged jobs begins.
  void StageJob(int job) { staged_->BeginJob(job); }
  // Calibrates the encoder and makes the search probes.
  absl::Status Prepare();

  // Adds a job and describes it in the run's store; it stays where it is.
  absl::StatusOr<Job*> Add(const PlanOptions& options, PlanProblem made);
  absl::Status Search(Job* job);
  // The search alone, of no job.
  absl::StatusOr<SearchResult> Try(const PlanOptions& options, const SearchProblem& problem);
  // The best uniform assignment of a job whose search met its limit.
  absl::Status FindUniform(Job* job);
  void DropSearchProbes() { probes_.reset(); }
  absl::Status MakeHeldOutProbes();
  // REQUIRES: the held-out probes, and FindUniform(). `acceptable` as in HeldOutContext.
  absl::Status CompareHeldOut(Job* job,
                              const std::function<bool(const Evaluation&)>& acceptable = {});
  // What the plan writes after the prompts of the first held-out probes, beside the reference.
  absl::Status Continue(int64_t count, Job* job);
  // Measures HeldOutExtras::others on the held-out probes; `evaluations`, which may be null, gets
  // those that were measured.
  absl::Status MeasureOthers(std::span<const std::variant<const Model*, Assignment>> others,
                             std::vector<Evaluation>* evaluations);
  absl::StatusOr<PlanOutcome> Finish(Job* job);
  // Says in the run's store how the jobs ended, of which the last function that failed returned
  // `status`.
  absl::Status End(const absl::Status& status);
  // All work is done.
  void FinishProgress() {
    if (staged_.has_value()) staged_->Finish();
  }

  SharedProbes* search_probes() { return probes_.get(); }
  const HeldOutProbes& held_out_probes() const { return *held_out_; }
  const ProbedWorkspace& ready() const { return ready_; }
  Progress* progress() { return progress_; }

 private:
  Workspace* workspace() { return ready_.workspace.get(); }
  HeldOutContext ContextOf(const Job& job);

  const Model& model_;
  Run& run_;
  Progress* progress_;
  std::optional<StagedProgress> staged_;
  PlanOptions shared_;
  std::deque<Job> jobs_;
  ProbedWorkspace ready_;
  EncoderCalibration calibration_;
  std::unique_ptr<SharedProbes> probes_;
  std::optional<HeldOutProbes> held_out_;
  std::optional<PlanRetraining> retraining_;
  const TrainedWeights* trained_ = nullptr;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_JOBS_H_
