#ifndef BITBUDGET_PLANNER_RUNS_COMMUNICATOR_H_
#define BITBUDGET_PLANNER_RUNS_COMMUNICATOR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// The processes ("ranks") that run one job together. All run the same program on the same input and
// meet in the functions below, in the same order; `what` names the meeting. Whoever has failed
// brings its error, and then all ranks get an error from that meeting, so that nobody waits for a
// rank that has left: an error of any rank is an error of the job. After it there are no more
// meetings, and whoever still asks for one gets the same error.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Ranks on this rank's machine, which share its cores and memory.
  virtual int ranks_on_machine() const = 0;

  bool is_root() const { return rank() == 0; }

  // What every rank brought, by rank. The error is a rank's own when it brought one of the kind
  // that wins: that of the lowest rank, but kCancelled only when no rank has another.
  absl::StatusOr<std::vector<std::string>> Exchange(absl::string_view what,
                                                    absl::StatusOr<std::string> mine);

  // What rank 0 brought; the others' values are ignored.
  absl::StatusOr<std::string> FromRoot(absl::string_view what, absl::StatusOr<std::string> mine);

  // OK where every rank brought OK.
  absl::Status Agree(absl::string_view what, const absl::Status& mine);

  // Ends the job: the last meeting, for ranks that are done (OK) and for those that leave early
  // with an error that the others do not know yet.
  absl::Status Finish(const absl::Status& mine);

 protected:
  // The messages of all ranks, by rank. kUnavailable when a rank is lost.
  virtual absl::StatusOr<std::vector<std::string>> AllGather(absl::string_view message) = 0;

 private:
  bool over_ = false;
  absl::Status last_error_;  // of the meeting that was the last
};

// This process alone.
std::unique_ptr<Communicator> MakeSingleProcess();

// The ranks that this process was started among: those of mpirun or srun, else the process alone.
// MPI is touched only when the environment shows that one of them started the process. Errors:
// kFailedPrecondition when it did and this build has no MPI, or another one. Call it once; the
// destructor meets the other ranks a last time, so that none ends (and is taken for lost) while
// another still writes.
absl::StatusOr<std::unique_ptr<Communicator>> StartCommunicator();

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_COMMUNICATOR_H_
