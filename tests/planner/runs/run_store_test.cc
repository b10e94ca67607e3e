#include "planner/runs/run_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/run_directory.h"
#include "runtime/base/random.h"
#include "tests/planner/runs/stores.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

using Results = std::vector<std::optional<ProbeResult>>;

Results MustFind(RunStore* store, const std::string& candidate, const std::vector<int64_t>& ids) {
  const auto found = store->Find(candidate, ids);
  EXPECT_TRUE(found.ok()) << found.status();
  return *found;
}

TEST(RunStore, GivesBackWhatWasSavedBitForBit) {
  const TempDir dir;
  const std::string path = dir.File("run");
  std::vector<ProbeResult> results = {Result(1), Result(2), Result(3)};
  results[0].nll_sum = std::numeric_limits<double>::denorm_min();
  results[0].kl_sum = -0.0;
  results[1].nll_sum = std::nextafter(700.0, 0);
  results[1].kl_sum = 0.1 + 0.2;
  results[2].nll_sum = std::numeric_limits<double>::max();
  results[1].text.tokens = 3;
  results[1].text.kls = {std::numeric_limits<float>::denorm_min(), -0.0f, 0.1f + 0.2f};
  const std::string binary("a\0b\xff", 4);
  {
    const auto store = MustOpen(path);
    const std::vector<int64_t> ids = MustIds(store.get(), {"x", "y", "z"});
    ASSERT_TRUE(store->Save("int8,int4", ids, results).ok());
    ASSERT_TRUE(store->PutBlob("key", "old").ok());
    ASSERT_TRUE(store->PutBlob("key", binary).ok());
    ASSERT_TRUE(store->PutBlob("empty", "").ok());
  }
  const auto store = MustOpen(path);
  // The order of probes is the asker's.
  const std::vector<int64_t> ids = MustIds(store.get(), {"z", "w", "x", "y"});
  const Results found = MustFind(store.get(), "int8,int4", ids);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0], results[2]);
  EXPECT_EQ(found[1], std::nullopt);
  EXPECT_EQ(found[2], results[0]);
  EXPECT_TRUE(std::signbit(found[2]->kl_sum));
  EXPECT_EQ(found[3], results[1]);
  EXPECT_EQ(MustFind(store.get(), "int8,int8", ids), Results(4));
  EXPECT_EQ(**store->GetBlob("key"), binary);
  EXPECT_EQ(**store->GetBlob("empty"), "");
  EXPECT_EQ(*store->GetBlob("none"), std::nullopt);
}

TEST(RunStore, ProbesOfDifferentSetsAreDifferent) {
  const TempDir dir;
  const auto store = MustOpen(dir.File("run"));
  EXPECT_NE(*store->ProbeIds("search", std::vector<std::string>{"x"}),
            *store->ProbeIds("held-out", std::vector<std::string>{"x"}));
}

TEST(RunStore, OtherIdentitiesHaveStoresOfTheirOwn) {
  const TempDir dir;
  const std::string path = dir.File("run");
  const std::vector<std::vector<IdentityField>> identities = {
      kIdentity,
      {{"model fingerprint", "abc"}, {"encoder", "rtn"}},
      {{"model fingerprint", "abc"}},
      {{"model fingerprint", "abc"}, {"encoder", "clip"}, {"pruning", "wanda"}},
      // The same text, cut elsewhere.
      {{"model fingerprint", "abcencoder"}, {"", "clip"}}};
  for (int time = 0; time < 2; ++time) {
    std::vector<std::unique_ptr<RunStore>> open;  // all at once
    for (size_t i = 0; i < identities.size(); ++i) {
      absl::StatusOr<std::unique_ptr<RunStore>> store = RunStore::Open(path, identities[i]);
      ASSERT_TRUE(store.ok()) << store.status();
      const auto value = (*store)->GetBlob("whose");
      ASSERT_TRUE(value.ok()) << value.status();
      EXPECT_EQ(*value, time == 0 ? std::nullopt : std::optional(absl::StrCat(i)));
      ASSERT_TRUE((*store)->PutBlob("whose", absl::StrCat(i)).ok());
      open.push_back(*std::move(store));
    }
  }
  EXPECT_EQ(ListStores(path).size(), identities.size());
}

TEST(RunStore, AStoreUnderAnothersNameIsRefused) {
  const TempDir dir;
  const std::string path = dir.File("run");
  MustOpen(path).reset();
  const std::vector<IdentityField> other = {{"model fingerprint", "abc"}, {"encoder", "rtn"}};
  std::filesystem::rename(StorePath(path), absl::StrCat(path, "/", StoreName(other)));
  ExpectError(RunStore::Open(path, other).status(),
              absl::StatusCode::kFailedPrecondition,
              {path, "another encoder", "clip, not rtn"});
}

TEST(RunStore, OneProcessAtATime) {
  const TempDir dir;
  const std::string path = dir.File("run");
  auto first = MustOpen(path);
  ExpectError(RunStore::Open(path, kIdentity).status(),
              absl::StatusCode::kFailedPrecondition,
              {StorePath(path), absl::StrCat("locked by another process (", getpid(), ")")});
  first.reset();
  EXPECT_NE(MustOpen(path), nullptr);
}

TEST(RunStore, ALockThatIsALinkOrNoFileIsRefused) {
  const TempDir dir;
  const std::string other = dir.File("other");
  WriteTestFile(other, "precious");
  std::filesystem::create_directory(StorePath(dir.path()));
  const std::string lock = absl::StrCat(StorePath(dir.path()), "/run.lock");
  const auto expect_refused = [&] {
    ExpectError(RunStore::Open(dir.path(), kIdentity).status(),
                absl::StatusCode::kInvalidArgument,
                {lock, "not a regular file", "remove it"});
    std::filesystem::remove(lock);
  };
  std::filesystem::create_symlink(other, lock);
  expect_refused();
  EXPECT_EQ(ReadTestFile(other), "precious");
  ASSERT_EQ(mkfifo(lock.c_str(), 0600), 0);
  expect_refused();
  std::filesystem::create_symlink(dir.File("missing"), lock);
  expect_refused();
  EXPECT_FALSE(std::filesystem::exists(dir.File("missing")));
  EXPECT_NE(MustOpen(dir.path()), nullptr);
}

TEST(RunStore, AnEmptyFileIsTheStartOfARun) {
  const TempDir dir;
  WriteStore(dir, "");
  const auto store = MustOpen(dir.path());
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(store->PutBlob("key", "value").ok());
}

TEST(RunStore, AKilledWriterLosesNothingThatItFinished) {
  const TempDir dir;
  const std::string path = dir.File("run");
  Random random(1);
  int64_t done = 0;
  for (int round = 0; round < 5; ++round) {
    // The child writes consecutive numbers until it is killed; it reports each through the pipe
    // when it is stored.
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      const auto store = RunStore::Open(path, kIdentity);
      if (!store.ok()) _exit(1);
      for (int64_t i = done;; ++i) {
        if (!(*store)->PutBlob(absl::StrCat(i), std::string(500, 'x')).ok()) _exit(1);
        if (write(ends[1], &i, sizeof(i)) != sizeof(i)) _exit(1);
      }
    }
    close(ends[1]);
    int64_t last = -1;
    for (uint64_t left = 20 + random.Below(400); left > 0; --left) {
      ASSERT_EQ(read(ends[0], &last, sizeof(last)), static_cast<ssize_t>(sizeof(last)));
    }
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(ends[0], &last, sizeof(last)) == static_cast<ssize_t>(sizeof(last))) {
    }
    close(ends[0]);
    done = last + 1;
    const auto store = MustOpen(path);
    for (int64_t i = 0; i < done; ++i) {
      ASSERT_TRUE((*store->GetBlob(absl::StrCat(i))).has_value()) << i;
    }
  }
}

// The limit on file sizes stands for a full disk: writes fail in the same place.
TEST(RunStore, AFullDiskIsOneClearErrorAndKeepsWhatWasThere) {
  const TempDir dir;
  const std::string path = dir.File("run");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const auto store = RunStore::Open(path, kIdentity);
    const rlimit limit = {200 << 10, 200 << 10};
    if (!store.ok() || setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(1);
    absl::Status status;
    int64_t i = 0;
    for (; i < 10000 && status.ok(); ++i) {
      status = (*store)->PutBlob(absl::StrCat(i), std::string(500, 'x'));
    }
    const bool clear = absl::IsResourceExhausted(status) &&
                       status.message().find("cannot be written") != std::string::npos &&
                       status.message().find(kRunStoreFile) != std::string::npos &&
                       status.message().find("same command again") != std::string::npos;
    // It goes on failing and never claims otherwise.
    const bool again = (*store)->PutBlob("more", std::string(50000, 'x')).ok();
    _exit(clear && !again && i > 20 ? 0 : 2);
  }
  int end = 0;
  waitpid(child, &end, 0);
  ASSERT_TRUE(WIFEXITED(end));
  ASSERT_EQ(WEXITSTATUS(end), 0);
  const auto store = MustOpen(path);
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE((*store->GetBlob(absl::StrCat(i))).has_value()) << i;
  }
  EXPECT_TRUE(store->PutBlob("after", "room").ok());
}

TEST(RunStore, ARunOfAnEarlierVersionIsSeenAndLeftAlone) {
  const TempDir dir;
  EXPECT_FALSE(HoldsOldStore(dir.path()));
  WriteTestFile(dir.File(kRunStoreFile), "old");
  EXPECT_TRUE(HoldsOldStore(dir.path()));
  EXPECT_NE(MustOpen(dir.path()), nullptr);
  EXPECT_EQ(ReadTestFile(dir.File(kRunStoreFile)), "old");
  EXPECT_EQ(ListStores(dir.path()), std::vector<std::string>{StorePath(dir.path())});
}

TEST(RunStore, AFileOfAnotherVersionIsRefused) {
  const TempDir dir;
  MustOpen(dir.path()).reset();
  const std::string file = absl::StrCat(StorePath(dir.path()), "/", kRunStoreFile);
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &connection), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(connection, "PRAGMA user_version = 1", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(connection);
  ExpectError(RunStore::Open(dir.path(), kIdentity).status(),
              absl::StatusCode::kFailedPrecondition,
              {file, "version 1", "reads version 5", "remove it"});
}

TEST(RunStore, LeavesNothingBehindWhenItWasNotUsed) {
  using Empty = RunStore::Empty;
  const TempDir dir;
  const std::string path = dir.File("run");
  auto store = MustOpen(path);
  ASSERT_TRUE(store->PutBlob("prompts", "x").ok());
  store->RemoveIf(Empty::kNoResultsAndNoValues);
  store.reset();
  EXPECT_TRUE(std::filesystem::exists(StorePath(path)));
  // The second time the file is not its own.
  store = MustOpen(path);
  store->RemoveIf(Empty::kNoResults);
  store.reset();
  EXPECT_TRUE(std::filesystem::exists(StorePath(path)));

  const std::string other = dir.File("other");
  store = MustOpen(other);
  ASSERT_TRUE(store->PutBlob("prompts", "x").ok());
  store->RemoveIf(Empty::kNoResults);
  store.reset();
  EXPECT_FALSE(std::filesystem::exists(other));

  // Beside another store.
  const std::vector<IdentityField> neighbour = {{"encoder", "rtn"}};
  ASSERT_TRUE(RunStore::Open(other, neighbour).ok());
  store = MustOpen(other);
  store->RemoveIf(Empty::kNoResults);
  store.reset();
  EXPECT_FALSE(std::filesystem::exists(StorePath(other)));
  EXPECT_EQ(ListStores(other).size(), 1u);

  const std::string used = dir.File("used");
  store = MustOpen(used);
  const std::vector<int64_t> ids = MustIds(store.get(), {"x"});
  ASSERT_TRUE(store->Save("int8", ids, std::vector<ProbeResult>{Result(1)}).ok());
  store->RemoveIf(Empty::kNoResults);
  EXPECT_TRUE(store->GetBlob("x").ok());
  store.reset();
  EXPECT_TRUE(std::filesystem::exists(StorePath(used)));
}

TEST(RunStore, AFolderThatCannotBeMadeIsNamed) {
  const TempDir dir;
  WriteTestFile(dir.File("file"), "x");
  for (const char* name : {"missing/run", "file"}) {
    const std::string path = dir.File(name);
    const absl::Status status = RunStore::Open(path, kIdentity).status();
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find(path), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace bitbudget
