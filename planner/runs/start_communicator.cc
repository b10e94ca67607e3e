// In a file of its own, so that who starts no ranks needs no MPI library.

#include <cstdlib>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/communicator.h"
#include "planner/runs/mpi_communicator.h"

namespace bitbudget {
namespace {

// The number of processes that the launcher's environment tells of; 1 when there is no launcher.
int LaunchedProcesses() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"}) {
    int size = 0;
    const char* value = std::getenv(name);
    if (value != nullptr && absl::SimpleAtoi(value, &size) && size > 0) return size;
  }
  // srun with PMIx says which rank this is, and how many tasks the step has.
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  int size = 0;
  if (std::getenv("PMIX_RANK") != nullptr && tasks != nullptr && absl::SimpleAtoi(tasks, &size) &&
      size > 0) {
    return size;
  }
  return 1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> StartCommunicator() {
  const int launched = LaunchedProcesses();
  if (launched == 1) return MakeSingleProcess();
#ifdef BITBUDGET_HAVE_MPI
  return StartMpi(launched);
#else
  return absl::FailedPreconditionError(
      absl::StrCat("started as one of ",
                   launched,
                   " processes, but this bitbudget was built without MPI; install an MPI library "
                   "(libopenmpi-dev) and configure and build again"));
#endif
}

}  // namespace bitbudget
