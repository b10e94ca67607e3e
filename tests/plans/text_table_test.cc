#include "plans/text_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace bitbudget {
namespace {

using Align = TextTable::Align;

TextTable Small() {
  TextTable table({Align::kLeft, Align::kRight});
  table.AddRow({"name", "one", "two", "three", "four"});
  table.AddRow({"a", "1", "22", "333", "4444"});
  table.AddRow({"b", "1"});
  return table;
}

TEST(TextTable, AlignsColumns) {
  EXPECT_EQ(Small().ToString(2),
            "  name  one  two  three  four\n"
            "  a       1   22    333  4444\n"
            "  b       1\n");
}

TEST(TextTable, ANarrowTerminalGetsItInParts) {
  EXPECT_EQ(Small().ToString(2, 29), Small().ToString(2));
  EXPECT_EQ(Small().ToString(2, 28),
            "  name  one  two  three\n"
            "  a       1   22    333\n"
            "  b       1\n"
            "\n"
            "  name  four\n"
            "  a     4444\n"
            "  b\n");
  EXPECT_EQ(Small().ToString(0, 20, /*together=*/2),
            "name  one  two\n"
            "a       1   22\n"
            "b       1\n"
            "\n"
            "name  three  four\n"
            "a       333  4444\n"
            "b\n");
}

TEST(TextTable, PartsAreNeverWiderThanTheTerminalUnlessAColumnIs) {
  for (int width = 12; width < 40; ++width) {
    for (const absl::string_view line : absl::StrSplit(Small().ToString(0, width), '\n')) {
      EXPECT_LE(static_cast<int>(line.size()), width);
    }
  }
  // One column at a time, however narrow it is.
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(Small().ToString(0, 1), "\n\n")).size(), 4);
}

TEST(TextTable, NothingIsNothing) { EXPECT_EQ(TextTable({Align::kLeft}).ToString(2, 10), ""); }

}  // namespace
}  // namespace bitbudget
