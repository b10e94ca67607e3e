#include "planner/runs/run_report.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/run_store.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

const Format kInt4 = *ParseFormat("int4-g32");
const Format kInt8 = *ParseFormat("int8");

std::vector<Component> TwoComponents() {
  return {{ComponentKind::kQ, 0, 8, 64, "q"}, {ComponentKind::kDown, 1, 4, 64, "down"}};
}

// A store with three candidates on two probes, a fourth on one of them, and a job with a trace.
void FillStore(const std::string& directory, const std::vector<IdentityField>& identity) {
  const auto opened = RunStore::Open(directory, identity);
  ASSERT_TRUE(opened.ok()) << opened.status();
  RunStore& store = **opened;
  ASSERT_TRUE(store.DescribeModel(TwoComponents(), {kFormatBF16, kFormatBF16}, 100).ok());
  const auto ids = store.ProbeIds("search", std::vector<std::string>{"x", "y"});
  ASSERT_TRUE(ids.ok());
  const auto save = [&](const std::string& candidate, double kl) {
    const ProbeResult result = {10, 4, 6, 1, 10 * kl};
    ASSERT_TRUE(store.Save(candidate, *ids, Evaluation{result, result}).ok());
  };
  save("int4-g32,bf16", 0.5);
  save("int8,bf16", 0.125);
  save("int8,int8", 0.25);
  ASSERT_TRUE(store.Save("int4-g32,int8", std::span(*ids).first(1), Evaluation{{10, 1}}).ok());
  const auto job = store.BeginJob("--budget 5bpw");
  ASSERT_TRUE(job.ok());
  const std::vector<TraceStep> trace = {
      {"start", {{0, kInt8}, {1, kInt8}}, 700, 4, 1.5, 0.25},
      {"swap", {{0, kInt4}, {1, kFormatBF16}}, 650, 5, 1.25, 0.125}};
  ASSERT_TRUE(store.PutTrace(*job, trace).ok());
  ASSERT_TRUE(store.EndJob(*job, "complete").ok());
}

TEST(RunReport, SaysWhatAStoreHolds) {
  const TempDir dir;
  const std::vector<IdentityField> identity = {{"encoder", "clip"}, {"seed", "3"}};
  FillStore(dir.path(), identity);
  const auto reports = ReadRuns(dir.path());
  ASSERT_TRUE(reports.ok()) << reports.status();
  ASSERT_EQ(reports->size(), 1u);
  const RunReport& report = reports->front();
  EXPECT_EQ(report.directory, absl::StrCat(dir.path(), "/", StoreName(identity)));
  ASSERT_EQ(report.identity.size(), 2u);
  EXPECT_EQ(report.identity[1].name, "seed");
  EXPECT_EQ(report.identity[1].value, "3");
  ASSERT_EQ(report.components.size(), 2u);
  EXPECT_EQ(report.components[1].name, "down");
  EXPECT_EQ(report.components[1].kind, ComponentKind::kDown);
  EXPECT_EQ(report.components[1].layer, 1);
  EXPECT_EQ(report.components[1].rows, 4);
  EXPECT_EQ(report.components[1].cols, 64);
  EXPECT_EQ(report.stored_formats, Assignment(2, kFormatBF16));
  EXPECT_EQ(report.probes, 2);
  EXPECT_EQ(report.candidates, 4);
  EXPECT_EQ(report.results, 3 * 2 + 1);

  ASSERT_EQ(report.jobs.size(), 1u);
  EXPECT_EQ(report.jobs[0].options, "--budget 5bpw");
  EXPECT_EQ(report.jobs[0].state, "complete");
  ASSERT_EQ(report.jobs[0].trace.size(), 2u);
  const TraceStep& step = report.jobs[0].trace[1];
  EXPECT_EQ(step.what, "swap");
  EXPECT_EQ(step.changes, (std::vector<ComponentFormat>{{0, kInt4}, {1, kFormatBF16}}));
  EXPECT_EQ(step.size_bytes, 650);
  EXPECT_EQ(step.fdt_mean, 5);
  EXPECT_EQ(step.dppl, 1.25);
  EXPECT_EQ(step.kl_mean, 0.125);

  // int4 beside bf16 is larger than int8 for both, and worse.
  const int64_t bf16_down = SizeBytes(kFormatBF16, 4, 64);
  ASSERT_EQ(report.best.size(), 2u);
  for (size_t i = 1; i < report.best.size(); ++i) {
    EXPECT_GT(report.best[i].size_bytes, report.best[i - 1].size_bytes);
    EXPECT_LT(report.best[i].kl_mean, report.best[i - 1].kl_mean);
  }
  EXPECT_EQ(report.best[1].assignment, (Assignment{kInt8, kFormatBF16}));
  EXPECT_EQ(report.best[1].size_bytes, 100 + SizeBytes(kInt8, 8, 64) + bf16_down);
  EXPECT_EQ(report.best[1].kl_mean, 0.125);
  ASSERT_EQ(report.alone.size(), 2u);
  EXPECT_EQ(report.alone[0].change, (ComponentFormat{0, kInt4}));
  EXPECT_EQ(report.alone[1].change, (ComponentFormat{0, kInt8}));
  EXPECT_EQ(report.alone[0].loss, 0.5);
}

TEST(RunReport, AllStoresOfADirectoryOrOneByItsFolder) {
  const TempDir dir;
  const std::vector<IdentityField> clip = {{"encoder", "clip"}};
  FillStore(dir.path(), clip);
  FillStore(dir.path(), {{"encoder", "rtn"}});
  const auto all = ReadRuns(dir.path());
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_NE((*all)[0].identity[0].value, (*all)[1].identity[0].value);
  const auto one = ReadRuns(absl::StrCat(dir.path(), "/", StoreName(clip)));
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(one->front().identity[0].value, "clip");
}

TEST(RunReport, AStoreThatWasOnlyJustCreatedIsEmpty) {
  const TempDir dir;
  ASSERT_TRUE(RunStore::Open(dir.path(), std::vector<IdentityField>{{"seed", "1"}}).ok());
  const auto reports = ReadRuns(dir.path());
  ASSERT_TRUE(reports.ok()) << reports.status();
  ASSERT_EQ(reports->size(), 1u);
  EXPECT_EQ(reports->front().results, 0);
}

TEST(RunReport, ARowThatIsNotAsItWasWrittenIsRefused) {
  const std::vector<IdentityField> identity = {{"encoder", "clip"}};
  const TempDir dir;
  FillStore(dir.path(), identity);
  const std::string file = absl::StrCat(dir.path(), "/", StoreName(identity), "/", kRunStoreFile);
  const std::string whole = ReadTestFile(file);
  for (const char* change : {"UPDATE identity SET value = 'other'",
                             "UPDATE components SET rows = 9",
                             "UPDATE components SET name = 'a' || char(10) || 'b'",
                             "UPDATE components SET cols = 1e308",
                             "UPDATE components SET id = id + 1 WHERE id = 1",
                             "UPDATE blobs SET value = '9223372036854775807'",
                             "UPDATE jobs SET state = 'failed'",
                             "UPDATE jobs SET options = 'other'",
                             "UPDATE trace SET kl_mean = kl_mean + 1e-9",
                             "UPDATE trace SET step = 7 WHERE step = 1",
                             "UPDATE results SET fdt = 3 WHERE candidate = 1",
                             "UPDATE candidates SET candidate = 'int8,int4-g32' WHERE id = 1",
                             "UPDATE probes SET name = 'z' WHERE id = 1"}) {
    WriteTestFile(file, whole);
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &connection), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(connection, change, nullptr, nullptr, nullptr), SQLITE_OK) << change;
    sqlite3_close(connection);
    SCOPED_TRACE(change);
    ExpectError(
        ReadRuns(dir.path()).status(), absl::StatusCode::kDataLoss, {file, "damaged", "remove it"});
  }
}

TEST(RunReport, ComponentsThatNoModelHasAreRefused) {
  const std::vector<IdentityField> identity = {{"encoder", "clip"}};
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const auto expect_refused = [&](const Component& component, int64_t fixed_bytes) {
    const TempDir dir;
    {
      const auto store = RunStore::Open(dir.path(), identity);
      ASSERT_TRUE(store.ok()) << store.status();
      ASSERT_TRUE((*store)
                      ->DescribeModel(
                          std::vector<Component>{component}, {*ParseFormat("q8_0")}, fixed_bytes)
                      .ok());
    }
    ExpectError(ReadRuns(dir.path()).status(),
                absl::StatusCode::kDataLoss,
                {kRunStoreFile, "damaged", "remove it"});
  };
  expect_refused({ComponentKind::kQ, 0, huge, 64, "q"}, 0);
  expect_refused({ComponentKind::kQ, 0, -1, 64, "q"}, 0);
  expect_refused({ComponentKind::kQ, 0, 8, huge - 31, "q"}, 0);
  expect_refused({ComponentKind::kQ, 0, 8, 33, "q"}, 0);  // no whole blocks
  expect_refused({ComponentKind::kQ, 0, 8, 64, "q"}, huge);
  expect_refused({ComponentKind::kQ, 0, 8, 64, "q"}, -1);
}

TEST(RunReport, WhereThereIsNoRunTheFileIsNamed) {
  const TempDir dir;
  for (const std::string& path : {dir.path(), dir.File("missing")}) {
    ExpectError(ReadRuns(path).status(),
                absl::StatusCode::kNotFound,
                {absl::StrCat(path, "/", kRunStoreFile)});
  }
}

}  // namespace
}  // namespace bitbudget
