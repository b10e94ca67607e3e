#include "runtime/base/sqlite.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

std::unique_ptr<Database> MustOpen(const std::string& path) {
  absl::StatusOr<std::unique_ptr<Database>> database = Database::Open(path, Database::Mode::kWrite);
  EXPECT_TRUE(database.ok()) << database.status();
  return *std::move(database);
}

TEST(Sqlite, ValuesComeBackAsTheyWereBound) {
  const TempDir dir;
  const std::string blob("a\0b\xff", 4);
  {
    const auto database = MustOpen(dir.File("db"));
    ASSERT_TRUE(database->Execute("CREATE TABLE t (i, r, s, b)").ok());
    auto insert = database->Prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4)",
                                    std::numeric_limits<int64_t>::min(),
                                    0.1,
                                    absl::string_view("text"),
                                    Blob{blob});
    ASSERT_TRUE(insert.ok()) << insert.status();
    EXPECT_EQ(*insert->Step(), false);
    // An empty text and blob are not NULL.
    auto empty = database->Prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4)",
                                   int64_t{7},
                                   2.5,
                                   absl::string_view(),
                                   Blob{absl::string_view()});
    ASSERT_TRUE(empty.ok() && empty->Step().ok());
  }
  const auto database = MustOpen(dir.File("db"));
  EXPECT_EQ(*database->Integer("SELECT count(*) FROM t WHERE s IS NOT NULL AND b IS NOT NULL"), 2);
  auto rows = database->Prepare("SELECT i, r, s, b FROM t ORDER BY i");
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(*rows->Step(), true);
  EXPECT_EQ(rows->Integer(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(rows->Real(1), 0.1);
  EXPECT_EQ(rows->Text(2), "text");
  EXPECT_EQ(rows->Text(3), blob);
  ASSERT_EQ(*rows->Step(), true);
  EXPECT_EQ(rows->Text(2), "");
  EXPECT_EQ(*rows->Step(), false);
}

TEST(Sqlite, AStatementIsUsedAgainAfterReset) {
  const TempDir dir;
  const auto database = MustOpen(dir.File("db"));
  ASSERT_TRUE(database->Execute("CREATE TABLE t (a, b)").ok());
  auto insert = database->Prepare("INSERT INTO t VALUES (?1, ?2)", int64_t{1});
  ASSERT_TRUE(insert.ok());
  for (const int64_t b : {10, 20}) {
    insert->Reset();
    ASSERT_TRUE(insert->Bind(2, b).ok());
    ASSERT_TRUE(insert->Step().ok());
  }
  EXPECT_EQ(*database->Integer("SELECT sum(a * b) FROM t"), 30);
  EXPECT_EQ(*database->Integer("SELECT a FROM t WHERE b = 5"), 0) << "no row";
}

TEST(Sqlite, ATransactionWithoutCommitLeavesNothing) {
  const TempDir dir;
  const auto database = MustOpen(dir.File("db"));
  ASSERT_TRUE(database->Execute("CREATE TABLE t (a)").ok());
  for (const bool commits : {false, true}) {
    auto transaction = Transaction::Begin(database.get());
    ASSERT_TRUE(transaction.ok()) << transaction.status();
    ASSERT_TRUE(database->Execute("INSERT INTO t VALUES (1)").ok());
    if (commits) {
      ASSERT_TRUE(transaction->Commit().ok());
    }
  }
  EXPECT_EQ(*database->Integer("SELECT count(*) FROM t"), 1);
}

TEST(Sqlite, AChecksumIsOfValuesTheirTypesAndTheirOrder) {
  const TempDir dir;
  const auto database = MustOpen(dir.File("db"));
  std::set<int64_t> sums;
  const std::vector<std::string> values = {"",          "NULL",
                                           "0",         "1",
                                           "256",       "0.0",
                                           "1.0",       "''",
                                           "x''",       "'1'",
                                           "x'31'",     "1, 2",
                                           "2, 1",      "12",
                                           "'ab', 'c'", "'a', 'bc'",
                                           "'abc'",     "'', ''",
                                           "'', NULL",  "x'00', ''",
                                           "'', x'00'", "-9223372036854775808",
                                           "9e999"};
  for (const std::string& list : values) {
    const auto sum = database->Integer(absl::StrCat("SELECT checksum(", list, ")").c_str());
    ASSERT_TRUE(sum.ok()) << sum.status();
    EXPECT_TRUE(sums.insert(*sum).second) << list;
  }
  // As columns give the values back.
  ASSERT_TRUE(database
                  ->Execute("CREATE TABLE t (r REAL, i INTEGER, b BLOB, sum INTEGER);"
                            "INSERT INTO t SELECT r, i, b, checksum(r, i, b) FROM "
                            "(SELECT -0.0 r, 7 i, x'00ff' b UNION SELECT 3.0, -1, x'' UNION "
                            "SELECT NULL, 0, x'00')")
                  .ok());
  EXPECT_EQ(*database->Integer("SELECT count(*) FROM t WHERE sum = checksum(r, i, b)"), 3);
}

TEST(Sqlite, TriggersAndViewsOfAFileAreNotRun) {
  const TempDir dir;
  const std::string path = dir.File("db");
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &connection), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(connection,
                         "CREATE TABLE t (a); CREATE VIEW v AS SELECT 1;"
                         "CREATE TRIGGER g BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END",
                         nullptr,
                         nullptr,
                         nullptr),
            SQLITE_OK);
  sqlite3_close(connection);
  const auto database = MustOpen(path);
  EXPECT_TRUE(database->Execute("INSERT INTO t VALUES (1)").ok());
  EXPECT_FALSE(database->Integer("SELECT * FROM v").ok());
}

TEST(Sqlite, WhatIsNoFileIsRefusedAtOnce) {
  const TempDir dir;
  const std::string path = dir.File("db");
  for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
    const std::string file = absl::StrCat(path, suffix);
    ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
    for (const Database::Mode mode : {Database::Mode::kRead, Database::Mode::kWrite}) {
      ExpectError(Database::Open(path, mode).status(),
                  absl::StatusCode::kInvalidArgument,
                  {file, "not a regular file"});
    }
    std::filesystem::remove(file);
  }
}

TEST(Sqlite, ReadingCreatesNothingAndNamesTheFile) {
  const TempDir dir;
  const std::string path = dir.File("missing");
  ExpectError(Database::Open(path, Database::Mode::kRead).status(),
              absl::StatusCode::kNotFound,
              {path, "cannot open"});
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Sqlite, ErrorsAreOneLineThatNamesTheFile) {
  const TempDir dir;
  const std::string garbage = dir.File("garbage");
  WriteTestFile(garbage, std::string(5000, 'x'));
  ExpectError(MustOpen(garbage)->Integer("SELECT count(*) FROM sqlite_schema").status(),
              absl::StatusCode::kDataLoss,
              {garbage, "not an SQLite database"});
  const std::string path = dir.File("db");
  const auto database = MustOpen(path);
  ExpectError(
      database->Execute("SELECT nonsense"), absl::StatusCode::kInternal, {path, "nonsense"});
}

TEST(Sqlite, AWriterThatWaitsTooLongIsToldThatTheFileIsLocked) {
  const TempDir dir;
  const std::string path = dir.File("db");
  const auto first = MustOpen(path);
  ASSERT_TRUE(first->Execute("CREATE TABLE t (a)").ok());
  const absl::StatusOr<Transaction> held = Transaction::Begin(first.get());
  ASSERT_TRUE(held.ok());
  const auto second = MustOpen(path);
  ASSERT_TRUE(second->Execute("PRAGMA busy_timeout = 0").ok());
  ExpectError(Transaction::Begin(second.get()).status(),
              absl::StatusCode::kFailedPrecondition,
              {path, "locked by another process"});
}

}  // namespace
}  // namespace bitbudget
