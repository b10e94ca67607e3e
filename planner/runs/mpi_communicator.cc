#include "planner/runs/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

absl::Status ErrorOf(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int size = 0;
  MPI_Error_string(code, text, &size);
  std::string what(text, static_cast<size_t>(size));
  std::replace(what.begin(), what.end(), '\n', ' ');
  return absl::UnavailableError(
      absl::StrCat("a rank of this job was lost (", what, "); the same command resumes the run"));
}

#define BB_RETURN_IF_MPI_ERROR(expr)                          \
  do {                                                        \
    if (const int bb_code = (expr); bb_code != MPI_SUCCESS) { \
      return ErrorOf(bb_code);                                \
    }                                                         \
  } while (false)

// Waits without keeping a core busy: ranks on one machine share its cores, and one that waits for
// the others must not slow them down. Most meetings are over at once.
absl::Status Wait(MPI_Request* request) {
  constexpr int kBusyRounds = 1000;      // some tens of microseconds
  constexpr int kLongestSleepUs = 1000;  // against evaluations of many milliseconds
  for (int round = 0;; ++round) {
    int done = 0;
    BB_RETURN_IF_MPI_ERROR(MPI_Test(request, &done, MPI_STATUS_IGNORE));
    if (done) return absl::OkStatus();
    if (round >= kBusyRounds) {
      usleep(static_cast<useconds_t>(std::min(kLongestSleepUs, 20 * (round - kBusyRounds + 1))));
    }
  }
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(int rank, int size, int ranks_on_machine)
      : rank_(rank), size_(size), ranks_on_machine_(ranks_on_machine) {}

  ~MpiCommunicator() override { MPI_Finalize(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int ranks_on_machine() const override { return ranks_on_machine_; }

 protected:
  absl::StatusOr<std::vector<std::string>> AllGather(absl::string_view message) override {
    const int64_t bytes = static_cast<int64_t>(message.size());
    std::vector<int64_t> sizes(size_);
    MPI_Request request;
    BB_RETURN_IF_MPI_ERROR(MPI_Iallgather(
        &bytes, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, MPI_COMM_WORLD, &request));
    BB_RETURN_IF_ERROR(Wait(&request));
    int64_t total = 0;
    for (const int64_t size : sizes) total += size;
    if (total > INT_MAX) {  // MPI counts in int; every rank comes to the same verdict
      return absl::ResourceExhaustedError(absl::StrCat(
          "ranks have ", total, " bytes to exchange, at most ", INT_MAX, " are possible"));
    }
    std::vector<int> counts(size_), offsets(size_);
    int offset = 0;
    for (int r = 0; r < size_; ++r) {
      counts[r] = static_cast<int>(sizes[r]);
      offsets[r] = offset;
      offset += counts[r];
    }
    std::string all(static_cast<size_t>(total), '\0');
    BB_RETURN_IF_MPI_ERROR(MPI_Iallgatherv(message.data(),
                                           static_cast<int>(bytes),
                                           MPI_BYTE,
                                           all.data(),
                                           counts.data(),
                                           offsets.data(),
                                           MPI_BYTE,
                                           MPI_COMM_WORLD,
                                           &request));
    BB_RETURN_IF_ERROR(Wait(&request));
    std::vector<std::string> messages;
    for (int r = 0; r < size_; ++r) {
      messages.push_back(all.substr(static_cast<size_t>(offsets[r]), sizes[r]));
    }
    return messages;
  }

 private:
  const int rank_, size_, ranks_on_machine_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> StartMpi(int launched) {
  int threading = 0;
  // Threads run between meetings, none of them meets.
  BB_RETURN_IF_MPI_ERROR(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threading));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int rank = 0, size = 0, ranks_on_machine = 0;
  BB_RETURN_IF_MPI_ERROR(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  BB_RETURN_IF_MPI_ERROR(MPI_Comm_size(MPI_COMM_WORLD, &size));
  MPI_Comm machine = MPI_COMM_NULL;
  BB_RETURN_IF_MPI_ERROR(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine));
  BB_RETURN_IF_MPI_ERROR(MPI_Comm_size(machine, &ranks_on_machine));
  MPI_Comm_free(&machine);
  auto communicator = std::make_unique<MpiCommunicator>(rank, size, ranks_on_machine);
  if (size != launched) {
    return absl::FailedPreconditionError(
        absl::StrCat("started as one of ",
                     launched,
                     " processes, but MPI knows of ",
                     size,
                     ": the launcher is that of another MPI than bitbudget was built with"));
  }
  return communicator;
}

}  // namespace bitbudget
