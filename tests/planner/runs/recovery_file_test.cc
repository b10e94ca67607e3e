#include "planner/runs/recovery_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

using Values = std::map<std::string, std::string>;

// Collects what users are told.
class Told : public Progress {
 public:
  void Message(absl::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

class RecoveryFileTest : public testing::Test {
 protected:
  std::unique_ptr<RecoveryFile> MustOpen(const std::string& key) {
    told_.lines.clear();
    auto file = RecoveryFile::Open(path_, key, &told_);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }
  static Values MustLoad(RecoveryFile* file) {
    const absl::StatusOr<Values> values = file->Load();
    EXPECT_TRUE(values.ok()) << values.status();
    return values.ok() ? *values : Values();
  }

  TempDir dir_;
  const std::string path_ = dir_.File("plan.pb.recovering");
  const std::string a_ = std::string(64, 'a'), b_ = std::string(64, 'b');
  const Values values_ = {{"layer 3", std::string("\0\n\xff", 3)}, {"", ""}, {"step", "12"}};
  Told told_;
};

TEST_F(RecoveryFileTest, KeepsTheValuesThatWereSavedLast) {
  const auto file = MustOpen(a_);
  EXPECT_EQ(MustLoad(file.get()), Values());
  EXPECT_FALSE(file->kept());
  ASSERT_TRUE(file->Save({{"old", "value"}}).ok());
  ASSERT_TRUE(file->Save(values_).ok());
  EXPECT_EQ(MustLoad(file.get()), values_);

  const auto again = MustOpen(a_);
  EXPECT_EQ(MustLoad(again.get()), values_);
  EXPECT_TRUE(again->kept());
  ASSERT_EQ(told_.lines.size(), 1u);
  EXPECT_EQ(told_.lines[0], "resuming from " + path_);

  ASSERT_TRUE(again->Remove().ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(MustLoad(again.get()), Values());
  EXPECT_TRUE(again->Remove().ok());  // there may be none
}

TEST_F(RecoveryFileTest, AStateOfAnotherRecoveryCountsAsNone) {
  ASSERT_TRUE(MustOpen(a_)->Save(values_).ok());
  const auto other = MustOpen(b_);
  EXPECT_EQ(MustLoad(other.get()), Values());
  ASSERT_EQ(told_.lines.size(), 1u);
  EXPECT_EQ(told_.lines[0], path_ + " is of another recovery; starting anew");
}

TEST_F(RecoveryFileTest, ADamagedStateCountsAsNone) {
  ASSERT_TRUE(MustOpen(a_)->Save(values_).ok());
  const std::string good = ReadTestFile(path_);
  const size_t key_end = good.find(a_) + 64;
  for (size_t size = key_end; size < good.size(); ++size) {
    WriteTestFile(path_, good.substr(0, size));
    EXPECT_EQ(MustLoad(MustOpen(a_).get()), Values()) << size;
    EXPECT_EQ(told_.lines, std::vector<std::string>{path_ + " is damaged; starting anew"});
  }
  std::string flipped = good;
  flipped.back() ^= 1;
  WriteTestFile(path_, flipped);
  EXPECT_EQ(MustLoad(MustOpen(a_).get()), Values());
  WriteTestFile(path_, good);
  EXPECT_EQ(MustLoad(MustOpen(a_).get()), values_);
}

TEST_F(RecoveryFileTest, AFileOfSomethingElseIsLeftAlone) {
  for (const char* contents : {"", "my notes", "bitbudget recovery state 2\n"}) {
    WriteTestFile(path_, contents);
    ExpectError(RecoveryFile::Open(path_, a_, &told_).status(),
                absl::StatusCode::kInvalidArgument,
                {path_, "move the file away"});
    EXPECT_EQ(ReadTestFile(path_), contents);
  }
}

}  // namespace
}  // namespace bitbudget
