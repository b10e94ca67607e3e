#include "runtime/base/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace bitbudget {
namespace {

TEST(ParallelFor, CallsTheBodyOnceForEveryItemWithAWorkerBelowThreads) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t items : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{7}, int64_t{1000}}) {
      std::vector<std::atomic<int>> calls(items);
      std::atomic<bool> worker_in_range = true;
      ParallelFor(threads, items, [&](int64_t item, int worker) {
        ++calls[item];
        if (worker < 0 || worker >= threads) worker_in_range = false;
      });
      EXPECT_TRUE(worker_in_range) << threads << " threads, " << items << " items";
      for (int64_t i = 0; i < items; ++i) {
        ASSERT_EQ(calls[i], 1) << "item " << i << " of " << items << ", " << threads << " threads";
      }
    }
  }
}

TEST(ParallelFor, NoTwoConcurrentCallsShareAWorker) {
  constexpr int kThreads = 4;
  std::vector<std::atomic<int>> busy(kThreads);
  std::atomic<bool> shared = false;
  ParallelFor(kThreads, 200, [&](int64_t, int worker) {
    if (busy[worker].fetch_add(1) != 0) shared = true;
    std::this_thread::yield();
    busy[worker].fetch_sub(1);
  });
  EXPECT_FALSE(shared);
}

TEST(ParallelFor, ReallyRunsOnSeveralThreads) {
  // Each of the two bodies waits for the other: on one thread this would not end.
  std::atomic<int> arrived = 0;
  ParallelFor(2, 2, [&](int64_t, int) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

TEST(ParallelFor, OneThreadRunsInOrderOnTheCaller) {
  std::vector<int64_t> order;
  const std::thread::id caller = std::this_thread::get_id();
  ParallelFor(1, 5, [&](int64_t item, int worker) {
    EXPECT_EQ(worker, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    order.push_back(item);
  });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(ParallelFor, NestedCallsRunSeriallyInOrderOnTheirThread) {
  constexpr int64_t kOuter = 6;
  std::vector<std::vector<int64_t>> inner(kOuter);
  std::atomic<bool> serial = true;
  ParallelFor(3, kOuter, [&](int64_t outer, int) {
    const std::thread::id thread = std::this_thread::get_id();
    ParallelFor(3, 4, [&](int64_t item, int worker) {
      if (worker != 0 || std::this_thread::get_id() != thread) serial = false;
      inner[outer].push_back(item);
    });
  });
  EXPECT_TRUE(serial);
  for (const std::vector<int64_t>& items : inner) {
    EXPECT_EQ(items, (std::vector<int64_t>{0, 1, 2, 3}));
  }
}

TEST(DefaultThreads, IsPositive) { EXPECT_GE(DefaultThreads(), 1); }

}  // namespace
}  // namespace bitbudget
