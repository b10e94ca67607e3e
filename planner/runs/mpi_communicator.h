#ifndef BITBUDGET_PLANNER_RUNS_MPI_COMMUNICATOR_H_
#define BITBUDGET_PLANNER_RUNS_MPI_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "planner/runs/communicator.h"

namespace bitbudget {

// Starts MPI. There must be `launched` ranks: one alone means that another MPI's launcher started
// the processes. Only in builds with MPI (BITBUDGET_HAVE_MPI).
absl::StatusOr<std::unique_ptr<Communicator>> StartMpi(int launched);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_MPI_COMMUNICATOR_H_
