#ifndef BITBUDGET_TESTS_PLANNER_RUNS_FAKE_RANKS_H_
#define BITBUDGET_TESTS_PLANNER_RUNS_FAKE_RANKS_H_

#include <barrier>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "planner/runs/communicator.h"

namespace bitbudget {

// Ranks that are threads of this process.
class FakeRanks {
 public:
  explicit FakeRanks(int size) : messages_(size), barrier_(size) {}

  // Runs body(communicator) on every rank; each finishes with the status that it returns. The
  // statuses that Finish() gave, by rank.
  std::vector<absl::Status> Run(const std::function<absl::Status(Communicator*)>& body) {
    std::vector<absl::Status> statuses(messages_.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < messages_.size(); ++r) {
      threads.emplace_back([&, r] {
        Rank rank(this, static_cast<int>(r));
        statuses[r] = rank.Finish(body(&rank));
      });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }

 private:
  class Rank : public Communicator {
   public:
    Rank(FakeRanks* all, int rank) : all_(*all), rank_(rank) {}

    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.messages_.size()); }
    int ranks_on_machine() const override { return size(); }

   protected:
    absl::StatusOr<std::vector<std::string>> AllGather(absl::string_view message) override {
      all_.messages_[rank_] = std::string(message);
      all_.barrier_.arrive_and_wait();
      std::vector<std::string> messages = all_.messages_;
      all_.barrier_.arrive_and_wait();  // before anybody brings the next one
      return messages;
    }

   private:
    FakeRanks& all_;
    const int rank_;
  };

  std::vector<std::string> messages_;
  std::barrier<> barrier_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANNER_RUNS_FAKE_RANKS_H_
