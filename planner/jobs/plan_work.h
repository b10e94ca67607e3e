#ifndef BITBUDGET_PLANNER_JOBS_PLAN_WORK_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_WORK_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "planner/jobs/plan_job.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"
#include "search/problem.h"

namespace bitbudget {

// Work of a kind is off by a common factor where the machine or the model is unlike those that
// the factors of plan_work.cc were measured with.
enum class WorkKind : uint8_t { kPasses, kGeneration, kGradients, kCosts, kTraining };
inline constexpr int kWorkKinds = 5;

// Phases (Progress::Begin) that do the same work.
struct PhaseWork {
  // Of which any may come; '*' stands for any text.
  std::vector<std::string> phases;
  WorkKind kind = WorkKind::kPasses;
  double passes = 0;     // of each
  double times = 1;      // how many there are; where `limit`, at most
  bool by_step = false;  // `passes` and `times` are of the phases' steps, not of whole phases
  bool limit = false;    // there may be fewer: what was not needed is no work

  double total() const { return passes * times; }
};

// Phases of a plan job that belong together. They come in any order.
struct WorkStage {
  // Of what all of several jobs share.
  static constexpr int kShared = -1;

  std::string name;
  std::vector<PhaseWork> parts;
  int job = kShared;  // in whose search it comes

  double passes() const;
  bool limit() const;  // of any part
};

// Whether a phase has a name of the list.
bool IsPhase(absl::string_view name, const PhaseWork& work);

// What the work is counted in: a candidate's run on all search probes of a rank.
struct PassSize {
  double macs = 0;     // products of weights and activations
  int64_t probes = 0;  // of all ranks
  int64_t tokens = 0;  // of a probe
};

struct PlanWork {
  PassSize pass;
  std::vector<WorkStage> stages;  // in order

  double passes() const;
};

// One of several jobs. Nothing is owned.
struct JobToDo {
  const PlanOptions* options = nullptr;
  const SearchProblem* problem = nullptr;
};

// What RunPlanJobs is going to do, at most, when nothing is stored, on a rank of several: what jobs
// share is counted once. `maker`, of the jobs' probes, has some for search and held-out
// measurements. REQUIRES: a job.
PlanWork WorkOf(const Model& model,
                std::span<const JobToDo> jobs,
                const HeldOutExtras& extras,
                const ProbeMaker& maker,
                int64_t ranks);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_WORK_H_
