#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/run_store.h"
#include "runtime/base/status_macros.h"
#include "tests/planner/runs/stores.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

void Flip(const std::string& path, size_t at, size_t count) {
  std::string bytes = ReadTestFile(path);
  for (size_t i = at; i < at + count && i < bytes.size(); ++i) bytes[i] = ~bytes[i];
  WriteTestFile(path, bytes);
}

TEST(StoreDamage, ForeignAndDamagedFilesAreRefused) {
  const auto expect_refused = [](const std::string& contents, const std::string& part) {
    const TempDir dir;
    const std::string file = WriteStore(dir, contents);
    ExpectError(RunStore::Open(dir.path(), kIdentity).status(),
                absl::StatusCode::kDataLoss,
                {file, part, "move it away"});
    EXPECT_EQ(ReadTestFile(file), contents);
  };
  expect_refused(std::string(5000, 'x'), "not an SQLite database");

  const TempDir dir;
  const std::string foreign = dir.File("foreign.sqlite");
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(foreign.c_str(), &connection), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(connection, "CREATE TABLE t (x)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(connection);
  expect_refused(ReadTestFile(foreign), "another program");

  // A store with a page overwritten, wherever it is, is refused or still gives what was saved.
  {
    const auto store = MustOpen(dir.File("run"));
    const std::vector<int64_t> ids = MustIds(store.get(), {"x", "y"});
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(store
                      ->Save(absl::StrCat("candidate ", i),
                             ids,
                             std::vector<ProbeResult>{Result(i), Result(i + 1)})
                      .ok());
    }
  }
  const std::string good =
      ReadTestFile(absl::StrCat(StorePath(dir.File("run")), "/", kRunStoreFile));
  int refused = 0;
  for (size_t at = 0; at + 4096 <= good.size(); at += 4096) {
    const TempDir copy;
    const std::string file = WriteStore(copy, good);
    Flip(file, at, 200);
    const auto opened = RunStore::Open(copy.path(), kIdentity);
    if (!opened.ok()) {
      ++refused;
      ExpectError(opened.status(), absl::StatusCode::kDataLoss, {file});
    }
  }
  EXPECT_GE(refused, static_cast<int>(good.size() / 4096) - 2);
  // One that was cut off.
  const TempDir cut;
  const std::string half = WriteStore(cut, good.substr(0, good.size() / 2));
  ExpectError(RunStore::Open(cut.path(), kIdentity).status(), absl::StatusCode::kDataLoss, {half});
}

// A damaged row is refused where it is read, whatever leads to it.
TEST(StoreDamage, ARowThatIsNotAsItWasWrittenIsRefused) {
  const TempDir dir;
  {
    const auto store = MustOpen(dir.path());
    const std::vector<int64_t> ids = MustIds(store.get(), {"x", "y"});
    for (const char* candidate : {"a", "b"}) {
      const int first = 2 * (candidate[0] - 'a');
      const Evaluation results = {Result(first), Result(first + 1)};
      ASSERT_TRUE(store->Save(candidate, ids, results).ok());
    }
    ASSERT_TRUE(store->PutBlob("key", "value").ok());
    ASSERT_TRUE(store->PutBlob("other", "value").ok());
  }
  const std::string file = absl::StrCat(StorePath(dir.path()), "/", kRunStoreFile);
  const std::string whole = ReadTestFile(file);
  // Everything that a store is asked, until the first error.
  const auto read_all = [&]() -> absl::Status {
    BB_ASSIGN_OR_RETURN(const auto store, RunStore::Open(dir.path(), kIdentity));
    BB_RETURN_IF_ERROR(store->GetBlob("key").status());
    BB_RETURN_IF_ERROR(store->GetBlob("other").status());
    BB_ASSIGN_OR_RETURN(const auto ids,
                        store->ProbeIds("search", std::vector<std::string>{"x", "y"}));
    BB_RETURN_IF_ERROR(store->Find("a", ids).status());
    return store->Find("b", ids).status();
  };
  EXPECT_TRUE(read_all().ok()) << read_all();
  for (const std::string& change : std::vector<std::string>{
           "UPDATE results SET fdt = fdt + 1 WHERE candidate = 1 AND probe = 2",
           "UPDATE results SET tokens = tokens + 4294967296",
           "UPDATE results SET sums = zeroblob(32) WHERE candidate = 2 AND probe = 1",
           "UPDATE results SET sums = x'00' WHERE candidate = 2 AND probe = 1",
           "UPDATE results SET text_kls = x'00000000' WHERE candidate = 2 AND probe = 1",
           "UPDATE results SET checksum = 0 WHERE probe = 2",
           "UPDATE results SET candidate = candidate + 2;"
           "UPDATE results SET candidate = 5 - candidate",
           "UPDATE results SET probe = probe + 2; UPDATE results SET probe = 5 - probe",
           "UPDATE candidates SET candidate = 'c' WHERE id = 1;"
           "UPDATE candidates SET candidate = 'a' WHERE id = 2",
           // The id of a lost candidate is given out again.
           "DELETE FROM candidates WHERE id = 2; INSERT INTO candidates VALUES (2, 'd');"
           "UPDATE candidates SET candidate = 'b' WHERE id = 1",
           "UPDATE probes SET name = 'z' WHERE id = 1; UPDATE probes SET name = 'x' WHERE id = 2",
           "UPDATE probes SET checksum = checksum + 1",
           "UPDATE blobs SET value = 'valve' WHERE key = 'key'",
           "UPDATE blobs SET value = CAST(value AS TEXT) WHERE key = 'other'",
           "UPDATE blobs SET key = 'none' WHERE key = 'key';"
           "UPDATE blobs SET key = 'key' WHERE key = 'other'",
           "UPDATE identity SET position = position + 1 WHERE name = 'encoder'",
           "CREATE TABLE more (x)",
           "DROP TABLE trace",
           "ALTER TABLE results RENAME COLUMN sdt TO other"}) {
    WriteTestFile(file, whole);
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &connection), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(connection, change.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << change << ": " << sqlite3_errmsg(connection);
    sqlite3_close(connection);
    SCOPED_TRACE(change);
    ExpectError(read_all(), absl::StatusCode::kDataLoss, {file, "damaged", "remove it"});
  }
}

TEST(StoreDamage, AResultThatNoEvaluationGivesIsRefused) {
  const double infinity = std::numeric_limits<double>::infinity();
  const float bad = std::numeric_limits<float>::infinity();
  for (const ProbeResult& result :
       std::vector<ProbeResult>{{-1, 0, 0},
                                {10, 11, 0},
                                {10, -1, 0},
                                {10, 0, -1},
                                {10, 4, 7},
                                {10, 4, 6, infinity},
                                {10, 4, 6, 1, std::nan("")},
                                {10, 4, 6, 1, 1, {-1}},
                                {10, 4, 6, 1, 1, {5, 6}},
                                {10, 4, 6, 1, 1, {5, -1}},
                                {10, 4, 6, 1, 1, {5, 5, -infinity}},
                                {10, 4, 6, 1, 1, {2, 1, 1, 1, {1}}},
                                {10, 4, 6, 1, 1, {1, 1, 1, 1, {bad}}}}) {
    const TempDir dir;
    const auto store = MustOpen(dir.path());
    const std::vector<int64_t> ids = MustIds(store.get(), {"x"});
    ASSERT_TRUE(store->Save("a", ids, Evaluation{result}).ok());
    ExpectError(store->Find("a", ids).status(),
                absl::StatusCode::kDataLoss,
                {kRunStoreFile, "damaged", "no evaluation", "remove it"});
  }
}

}  // namespace
}  // namespace bitbudget
