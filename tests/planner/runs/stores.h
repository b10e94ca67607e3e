#ifndef BITBUDGET_TESTS_PLANNER_RUNS_STORES_H_
#define BITBUDGET_TESTS_PLANNER_RUNS_STORES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/run_directory.h"
#include "planner/runs/run_store.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {

inline const std::vector<IdentityField> kIdentity = {{"model fingerprint", "abc"},
                                                     {"encoder", "clip"}};

// The folder of the store with kIdentity.
inline std::string StorePath(const std::string& run_directory) {
  return absl::StrCat(run_directory, "/", StoreName(kIdentity));
}

// A run directory whose store is this file.
inline std::string WriteStore(const TempDir& dir, const std::string& contents) {
  std::filesystem::create_directory(StorePath(dir.path()));
  const std::string file = absl::StrCat(StorePath(dir.path()), "/", kRunStoreFile);
  WriteTestFile(file, contents);
  return file;
}

inline std::unique_ptr<RunStore> MustOpen(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<RunStore>> store = RunStore::Open(directory, kIdentity);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

inline ProbeResult Result(int i) {
  ProbeResult result;
  result.tokens = 1000;
  result.fdt = i;
  result.sdt = 1000 - i;
  result.nll_sum = 0.1 * i;
  result.kl_sum = 1.0 / (3 + i);
  return result;
}

inline std::vector<int64_t> MustIds(RunStore* store, const std::vector<std::string>& names) {
  const auto ids = store->ProbeIds("search", names);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *ids;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANNER_RUNS_STORES_H_
