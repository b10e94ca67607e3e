#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/communicator.h"
#include "planner/runs/distributed_evaluator.h"
#include "planner/runs/run.h"
#include "plans/plan_io.h"
#include "tests/planner/planner_test_util.h"
#include "tests/planner/runs/fake_ranks.h"
#include "tests/support/expect_error.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using bitbudget::testing::MakeToy;
using bitbudget::testing::SyntheticEvaluator;
using bitbudget::testing::Toy;

TEST(Communicator, EveryRankGetsWhatAllBroughtByRank) {
  FakeRanks ranks(3);
  const auto statuses = ranks.Run([](Communicator* rank) -> absl::Status {
    for (int i = 0; i < 20; ++i) {
      const auto all = rank->Exchange("x", absl::StrCat(rank->rank(), ":", i));
      EXPECT_TRUE(all.ok());
      EXPECT_EQ(*all,
                (std::vector<std::string>{
                    absl::StrCat("0:", i), absl::StrCat("1:", i), absl::StrCat("2:", i)}));
      const auto first = rank->FromRoot("y", absl::StrCat("rank ", rank->rank()));
      EXPECT_EQ(*first, "rank 0");
    }
    return rank->Agree("z", absl::OkStatus());
  });
  EXPECT_EQ(statuses, std::vector<absl::Status>(3));
}

TEST(Communicator, AnErrorOfOneIsTheErrorOfAll) {
  FakeRanks ranks(3);
  std::atomic<int> meetings = 0;
  const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
    for (int i = 0; i < 100; ++i) {
      // Rank 2 leaves on its own, without a meeting in which it could say so.
      if (rank->rank() == 2 && i == 7) return absl::ResourceExhaustedError("disk full");
      const auto all = rank->Exchange("x", std::string("fine"));
      if (!all.ok()) return all.status();
      ++meetings;
    }
    return absl::OkStatus();
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status, absl::ResourceExhaustedError("disk full"));
  }
  EXPECT_EQ(meetings, 3 * 7);
}

TEST(Communicator, AnErrorWinsOverAnInterruption) {
  FakeRanks ranks(3);
  const auto statuses = ranks.Run([](Communicator* rank) -> absl::Status {
    const absl::Status mine[] = {
        absl::OkStatus(), absl::CancelledError("interrupted"), absl::DataLossError("broken")};
    EXPECT_EQ(rank->Agree("x", mine[rank->rank()]), absl::DataLossError("broken"));
    // Nobody waits for anybody any more.
    EXPECT_EQ(rank->Agree("y", absl::OkStatus()), absl::DataLossError("broken"));
    return absl::DataLossError("broken");
  });
  for (const absl::Status& status : statuses) EXPECT_EQ(status, absl::DataLossError("broken"));
}

TEST(Communicator, RanksThatAreOutOfStepAreFound) {
  FakeRanks ranks(2);
  const auto statuses = ranks.Run([](Communicator* rank) {
    return rank->Agree(rank->is_root() ? "here" : "there", absl::OkStatus());
  });
  for (const absl::Status& status : statuses) EXPECT_TRUE(absl::IsInternal(status)) << status;
}

TEST(DealtRange, IsEveryRanksShareOfARange) {
  for (int size = 1; size <= 5; ++size) {
    for (int64_t first = 0; first < 12; ++first) {
      for (int64_t count = 0; first + count <= 12; ++count) {
        for (int rank = 0; rank < size; ++rank) {
          std::vector<int64_t> own;  // the rank's numbers of its items in the range
          for (int64_t i = 0, number = 0; i < 12; ++i) {
            if (i % size != rank) continue;
            if (i >= first && i < first + count) own.push_back(number);
            ++number;
          }
          const ProbeRange range = DealtRange(rank, size, {first, count});
          ASSERT_EQ(range.count, static_cast<int64_t>(own.size()));
          if (range.count > 0) {
            ASSERT_EQ(range.first, own.front());
          }
        }
      }
    }
  }
}

// The probes of a rank, out of an evaluator of all.
class OwnProbes : public SyntheticEvaluator {
 public:
  OwnProbes(const Toy& toy, const Options& options, const Communicator& ranks)
      : SyntheticEvaluator(toy, options), ranks_(ranks) {}

  int64_t probe_count() const override {
    return DealtRange(ranks_.rank(), ranks_.size(), {0, SyntheticEvaluator::probe_count()}).count;
  }
  const Evaluation& incumbent_evaluation() const override {
    own_ = Own(SyntheticEvaluator::incumbent_evaluation());
    return own_;
  }
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override {
    auto all = SyntheticEvaluator::Evaluate(delta, {0, SyntheticEvaluator::probe_count()});
    if (!all.ok()) return all;
    const Evaluation own = Own(*all);
    return Evaluation(own.begin() + range.first, own.begin() + range.first + range.count);
  }

 private:
  Evaluation Own(const Evaluation& all) const {
    return Dealt<ProbeResult>(ranks_, std::span<const ProbeResult>(all));
  }

  const Communicator& ranks_;
  mutable Evaluation own_;
};

TEST(DistributedEvaluator, GivesTheResultsOfOneRank) {
  const Toy toy = MakeToy(5, 6, 3, 2, 0.5);
  SyntheticEvaluator::Options options;
  options.probes = 7;
  options.noise = 0.5;
  for (const int size : {1, 2, 3, 7}) {
    FakeRanks ranks(size);
    const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
      SyntheticEvaluator alone(toy, options);
      OwnProbes own(toy, options, *rank);
      DistributedEvaluator evaluator(&own, rank, std::vector<int64_t>(7, 1));
      EXPECT_EQ(evaluator.probe_count(), 7);
      EXPECT_TRUE(alone.SetIncumbent(alone.Reference()).ok());
      EXPECT_TRUE(evaluator.SetIncumbent(alone.Reference()).ok());
      Random random(1);
      for (int i = 0; i < 40; ++i) {
        const ComponentFormat change = {static_cast<ComponentId>(random.Below(6)),
                                        testing::ToyFormats(3)[random.Below(3)]};
        const int64_t first = static_cast<int64_t>(random.Below(7));
        const ProbeRange range{first, static_cast<int64_t>(random.Below(8 - first))};
        const auto evaluation = evaluator.Evaluate({&change, 1}, range);
        EXPECT_EQ(*evaluation, *alone.Evaluate({&change, 1}, range));
        EXPECT_EQ(evaluator.CostOf(std::span(&change, 1), range),
                  alone.CostOf(std::span(&change, 1), range));
        if (i % 5 == 0) {
          EXPECT_TRUE(alone.Commit({&change, 1}).ok());
          EXPECT_TRUE(evaluator.Commit({&change, 1}).ok());
        }
        EXPECT_EQ(evaluator.incumbent(), alone.incumbent());
        EXPECT_EQ(evaluator.incumbent_evaluation(), alone.incumbent_evaluation());
      }
      return absl::OkStatus();
    });
    EXPECT_EQ(statuses, std::vector<absl::Status>(size));
  }
}

TEST(DistributedEvaluator, AnInterruptionOfOneRankStopsAll) {
  const Toy toy = MakeToy(5, 6, 3, 2, 0.5);
  FakeRanks ranks(3);
  std::atomic<int> evaluations = 0;
  const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
    SyntheticEvaluator::Options options;
    options.probes = 7;
    if (rank->rank() == 1) options.cancel_after = 10;
    OwnProbes own(toy, options, *rank);
    DistributedEvaluator evaluator(&own, rank, std::vector<int64_t>(7, 1));
    absl::Status status = evaluator.SetIncumbent(own.Reference());
    while (status.ok()) {
      const ComponentFormat change = {1, testing::ToyFormats(3)[0]};
      status = evaluator.Evaluate({&change, 1}).status();
      if (status.ok()) ++evaluations;
    }
    return status;
  });
  for (const absl::Status& status : statuses) EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(evaluations, 3 * 9);
}

// Few candidates: what ranks and stores do is the same for all.
PlanOptions FewFormatsJob(const std::string& search) {
  PlanOptions options = SmallJob(search);
  options.constraints.formats = {*ParseFormat("int4-g32"), *ParseFormat("int8")};
  return options;
}

// The job itself on ranks: every rank gets the plan of one process, whatever the store held.
TEST(RunPlanJob, TheSamePlanForAnyNumberOfRanksAndAnyStore) {
  const ModelWithText model;
  // A store of its own, of a run with other ranks, or none.
  const struct {
    const char* search;
    bool exhaustive;
    std::vector<std::pair<int, const char*>> runs;
  } cases[] = {{"greedy", false, {{2, ""}, {3, "own"}, {2, "shared"}, {3, "shared"}}},
               {"greedy", true, {{2, "shared"}}},
               {"layerwise", false, {{3, "shared"}}}};
  const TempDir dir;
  for (const auto& test : cases) {
    PlanOptions options = FewFormatsJob(test.search);
    options.exhaustive = test.exhaustive;
    options.workspace.probes.source = ProbeSource::kText;
    options.workspace.probes.path = model.text;
    Progress progress;
    const auto alone = RunPlanJob(*model, options, &progress);
    ASSERT_TRUE(alone.ok()) << alone.status();
    const std::string bytes = SerializePlan(*alone);
    for (const auto& [size, name] : test.runs) {
      SCOPED_TRACE(absl::StrCat(test.search, ", ", size, " ranks, store '", name, "'"));
      if (*name != 0) options.run_dir = dir.File(name);
      FakeRanks ranks(size);
      const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
        Progress silent;
        const auto plan = RunPlanJob(*model, options, &silent, rank);
        if (!plan.ok()) return plan.status();
        EXPECT_EQ(SerializePlan(*plan), bytes);
        return absl::OkStatus();
      });
      EXPECT_EQ(statuses, std::vector<absl::Status>(size));
    }
  }
}

TEST(RunPlanJob, AnInterruptionOfAnyRankEndsAllAndTheRunGoesOn) {
  const LoadedModel model;
  const PlanOptions options = FewFormatsJob("greedy");
  CountingProgress whole;
  const auto alone = RunPlanJob(*model, options, &whole);
  ASSERT_TRUE(alone.ok()) << alone.status();
  const TempDir dir;
  PlanOptions stored = options;
  stored.run_dir = dir.File("run");
  int interrupted = 0;
  for (int64_t i = 0; i < 12; ++i) {
    FakeRanks ranks(2);
    const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
      // Later and later, on one rank and on the other.
      const int64_t questions = whole.questions() * (i + 1) / 14;
      CountingProgress progress(INT64_MAX, rank->rank() == i % 2 ? questions : INT64_MAX);
      const auto plan = RunPlanJob(*model, stored, &progress, rank);
      if (!plan.ok()) return plan.status();
      return plan->complete() ? absl::OkStatus() : absl::CancelledError("incomplete");
    });
    EXPECT_EQ(statuses[0].code(), statuses[1].code()) << statuses[0] << "; " << statuses[1];
    EXPECT_TRUE(statuses[0].ok() || absl::IsCancelled(statuses[0])) << statuses[0];
    interrupted += !statuses[0].ok();
  }
  EXPECT_GT(interrupted, 3);
  CountingProgress again;
  const auto plan = RunPlanJob(*model, stored, &again);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(SerializePlan(*plan), SerializePlan(*alone));
  EXPECT_LT(again.questions(), whole.questions());
}

TEST(RunPlanJob, MoreRanksThanProbesAreRefused) {
  const LoadedModel model;
  FakeRanks ranks(5);
  const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
    Progress silent;
    return RunPlanJob(*model, SmallJob("uniform"), &silent, rank).status();
  });
  for (const absl::Status& status : statuses) {
    ExpectError(status, absl::StatusCode::kInvalidArgument, {"4 search probes for 5 ranks"});
  }
}

TEST(Run, RanksWithOtherFilesAreRefused) {
  FakeRanks ranks(2);
  const auto statuses = ranks.Run([&](Communicator* rank) -> absl::Status {
    bitbudget::Run run(rank);
    const std::vector<IdentityField> identity = {{"seed", "1"},
                                                 {"model", rank->is_root() ? "a" : "b"}};
    Progress silent;
    return run.Begin("", identity, &silent);
  });
  for (const absl::Status& status : statuses) {
    ExpectError(status, absl::StatusCode::kInvalidArgument, {"rank 1", "another model", "b", "a"});
  }
}

}  // namespace
}  // namespace bitbudget
