#include "runtime/quantize/fisher_store.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

TEST(FisherStoreTest, GivesBackWhatItHoldsAndWhatItSpilled) {
  const TempDir directory;
  FisherStore store(/*max_bytes=*/16, directory.path());
  const std::vector<float> first = {1, 2, 3};
  const std::vector<float> second = {4, 5, 6, 7};
  const std::vector<float> third = {8};
  ASSERT_TRUE(store.Add(3, first).ok());
  ASSERT_TRUE(store.Add(1, second).ok());
  ASSERT_TRUE(store.Add(2, third).ok());
  const auto expect = [&](ComponentId id, const std::vector<float>& values, bool spilled) {
    std::vector<float> storage;
    const auto found = store.Find(id, &storage);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(std::vector<float>(found->begin(), found->end()), values);
    EXPECT_EQ(!storage.empty(), spilled);
  };
  expect(3, first, false);
  expect(1, second, true);
  expect(2, third, false);
  expect(0, {}, false);
}

}  // namespace
}  // namespace bitbudget
