#include "planner/workspace/budget.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr int64_t kParameters = 1000;
constexpr int64_t kStored = 2001;

int64_t BytesOf(const std::string& text,
                int64_t parameters = kParameters,
                int64_t stored = kStored) {
  const absl::StatusOr<Budget> budget = ParseBudget(text);
  EXPECT_TRUE(budget.ok()) << text << ": " << budget.status();
  if (!budget.ok()) return -1;
  EXPECT_EQ(budget->text, text);
  return budget->Bytes(parameters, stored);
}

TEST(Budget, ReadsEveryUnit) {
  EXPECT_EQ(BytesOf("12345678B"), 12345678);
  EXPECT_EQ(BytesOf("900KiB"), 900 * 1024);
  EXPECT_EQ(BytesOf("500MiB"), 500 * 1048576);
  EXPECT_EQ(BytesOf("3.2GiB"), 3435973836);  // 3435973836.8
  EXPECT_EQ(BytesOf("1TiB"), 1099511627776);
  EXPECT_EQ(BytesOf("2KB"), 2000);
  EXPECT_EQ(BytesOf("500MB"), 500000000);
  EXPECT_EQ(BytesOf("3.4GB"), 3400000000);
  EXPECT_EQ(BytesOf("0.5TB"), 500000000000);
  EXPECT_EQ(BytesOf("1.5e3B"), 1500);
  EXPECT_EQ(BytesOf("4.5bpw"), 562);  // 562.5
  EXPECT_EQ(BytesOf("60%"), 1200);    // 1200.6
  EXPECT_EQ(BytesOf("100%"), kStored);
}

TEST(Budget, UnitsAreReadInAnyCaseAndAfterASpace) {
  EXPECT_EQ(BytesOf("4.5BPW"), 562);
  EXPECT_EQ(BytesOf("400 KB"), 400000);
  EXPECT_EQ(BytesOf("400k"), 400000);
  EXPECT_EQ(BytesOf("6G"), 6000000000);
  EXPECT_EQ(BytesOf("3 gib"), int64_t{3} << 30);
  EXPECT_EQ(BytesOf("60 %"), 1200);
}

TEST(Budget, BytesAreTakenExactly) {
  constexpr int64_t kTwo53 = int64_t{1} << 53;
  for (int64_t bytes = 1; bytes < kTwo53; bytes = bytes * 3 + 1) {
    EXPECT_EQ(BytesOf(absl::StrCat(bytes, "B")), bytes);
  }
  EXPECT_EQ(BytesOf(absl::StrCat(kTwo53 - 1, "B")), kTwo53 - 1);
}

// Decimal fractions have no exact double: the whole number that is meant must come out all the
// same, and never one more.
TEST(Budget, AWholeNumberOfBytesIsNotMissedByRounding) {
  for (int tenths = 1; tenths <= 320; ++tenths) {
    const std::string decimal = absl::StrFormat("%d.%d", tenths / 10, tenths % 10);
    for (const int64_t k : {int64_t{1}, int64_t{3}, int64_t{7001}, int64_t{1} << 30}) {
      EXPECT_EQ(BytesOf(decimal + "bpw", 80 * k), tenths * k) << k;
      EXPECT_EQ(BytesOf(decimal + "bpw", 80 * k + 79), (tenths * (80 * k + 79)) / 80) << k;
      EXPECT_EQ(BytesOf(decimal + "%", 1, 1000 * k), tenths * k) << k;
    }
    EXPECT_EQ(BytesOf(decimal + "MB"), tenths * 100000);
    EXPECT_EQ(BytesOf(decimal + "GB"), tenths * int64_t{100000000});
    EXPECT_EQ(BytesOf(decimal + "KiB"), tenths * 1024 / 10);
  }
}

TEST(Budget, SaysWhatItDoesNotUnderstand) {
  for (const char* text : {"",
                           "4.5",
                           "60",
                           "bpw",
                           "%",
                           "B",
                           "-1bpw",
                           "-60%",
                           "0B",
                           "0bpw",
                           "-0%",
                           "nanbpw",
                           "infbpw",
                           "nan%",
                           "1e400B",
                           "1e30B",
                           "9e15GiB",
                           "4.5  bpw",
                           " 4.5bpw",
                           "4.5bpw ",
                           "\t4.5bpw",
                           "4.5\tbpw",
                           "4,5bpw",
                           "4.5bpwbpw",
                           "1.2.3GiB",
                           "0x10B",
                           "1e5e5B",
                           "1 000MB",
                           "half",
                           "12kk",
                           "9007199254740992B",
                           "1e17bpw",
                           "--5B",
                           "4.5\xc2\xa0"
                           "bpw"}) {
    ExpectError(ParseBudget(text).status(),
                absl::StatusCode::kInvalidArgument,
                {absl::StrCat("budget '", text, "'"), "4.5bpw", "3.2GiB", "12345678B", "60%"});
  }
}

TEST(Budget, HugeBitsPerWeightDoNotOverflow) {
  const int64_t bytes = BytesOf("1e15bpw", int64_t{1} << 40);
  EXPECT_EQ(bytes, int64_t{1} << 53);
}

TEST(SparsityGoal, ReadsSharesInThousandths) {
  for (const auto& [text, permille] : {std::pair("60%", 600),
                                       std::pair("62.5%", 625),
                                       std::pair("0.1%", 1),
                                       std::pair("100%", 1000)}) {
    const absl::StatusOr<SparsityGoal> goal = ParseSparsityGoal(text);
    ASSERT_TRUE(goal.ok()) << goal.status();
    EXPECT_EQ(goal->target.permille, permille) << text;
    EXPECT_EQ(goal->text, text);
  }
  for (const char* text : {"", "60", "%", "0%", "0.01%", "-5%", "101%", "nan%", "60 %", "half"}) {
    ExpectError(ParseSparsityGoal(text).status(),
                absl::StatusCode::kInvalidArgument,
                {absl::StrCat("sparsity '", text, "'"), "62.5%"});
  }
}

}  // namespace
}  // namespace bitbudget
