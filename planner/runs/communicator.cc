#include "planner/runs/communicator.h"

#include <glog/logging.h>

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/mpi_communicator.h"
#include "planner/runs/packing.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

class SingleProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int ranks_on_machine() const override { return 1; }

 protected:
  absl::StatusOr<std::vector<std::string>> AllGather(absl::string_view message) override {
    return std::vector<std::string>{std::string(message)};
  }
};

std::string Pack(absl::string_view what, const absl::StatusOr<std::string>& mine) {
  Packer packer;
  packer.Text(what);
  packer.Number<int32_t>(static_cast<int32_t>(mine.status().code()));
  packer.Text(mine.ok() ? absl::string_view(*mine) : mine.status().message());
  return packer.Take();
}

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

absl::StatusOr<std::vector<std::string>> Communicator::Exchange(absl::string_view what,
                                                                absl::StatusOr<std::string> mine) {
  if (over_) {
    CHECK(!last_error_.ok()) << what << ": after Finish()";
    return last_error_;
  }
  if (size() == 1) {
    if (!mine.ok()) return mine.status();
    return std::vector<std::string>{*std::move(mine)};
  }
  const absl::StatusOr<std::vector<std::string>> messages = AllGather(Pack(what, mine));
  absl::Status winner = messages.status();
  absl::Status out_of_step;  // only an error when no rank has brought one: who leaves is elsewhere
  std::vector<std::string> values;
  for (int r = 0; messages.ok() && r < size(); ++r) {
    Unpacker unpacker((*messages)[r]);
    const std::string where = unpacker.Text();
    const absl::StatusCode code = static_cast<absl::StatusCode>(unpacker.Number<int32_t>());
    values.push_back(unpacker.Text());
    if (code != absl::StatusCode::kOk && (winner.ok() || absl::IsCancelled(winner)) &&
        (winner.ok() || code != absl::StatusCode::kCancelled)) {
      winner = absl::Status(code, values.back());
    }
    if (where != what || !unpacker.Done()) {
      out_of_step.Update(absl::InternalError(
          absl::StrCat("rank ", r, " is at '", where, "', rank ", rank(), " at '", what, "'")));
    }
  }
  winner.Update(out_of_step);
  if (winner.ok()) return values;
  over_ = true;
  last_error_ = winner;
  // A rank's own status may carry more than code and message.
  return mine.status().code() == winner.code() ? mine.status() : winner;
}

absl::StatusOr<std::string> Communicator::FromRoot(absl::string_view what,
                                                   absl::StatusOr<std::string> mine) {
  if (mine.ok() && !is_root()) mine->clear();
  BB_ASSIGN_OR_RETURN(std::vector<std::string> values, Exchange(what, std::move(mine)));
  return std::move(values[0]);
}

absl::Status Communicator::Agree(absl::string_view what, const absl::Status& mine) {
  if (!mine.ok()) return Exchange(what, mine).status();
  return Exchange(what, std::string()).status();
}

absl::Status Communicator::Finish(const absl::Status& mine) {
  if (over_ || size() == 1) return mine;
  absl::Status status = Agree("the end", mine);
  over_ = true;
  return status;
}

std::unique_ptr<Communicator> MakeSingleProcess() { return std::make_unique<SingleProcess>(); }

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
