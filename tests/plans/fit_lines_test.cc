#include "plans/fit_lines.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace bitbudget {
namespace {

constexpr absl::string_view kText =
    "verdict   better than uniform: KL 18 % lower\n"
    "          and FDT 3.8 tokens later\n"
    "\n"
    "done\n";

TEST(FitLines, BreaksAtSpacesAndHangsTheRest) {
  EXPECT_EQ(FitLines(kText, 30, 10),
            "verdict   better than uniform:\n"
            "          KL 18 % lower\n"
            "          and FDT 3.8 tokens\n"
            "          later\n"
            "\n"
            "done\n");
}

TEST(FitLines, NoLineIsLongerAndNoWordIsLost) {
  const auto words = [](absl::string_view text) {
    return std::vector<std::string>(
        absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty()));
  };
  for (int width = 8; width < 60; ++width) {
    for (const int hang : {0, 2, 10}) {
      const std::string fitted = FitLines(kText, width, hang);
      EXPECT_EQ(words(fitted), words(kText));
      if (width < 10 + 8) continue;  // "uniform:", as far in as a line starts
      for (const absl::string_view line : absl::StrSplit(fitted, '\n')) {
        EXPECT_LE(static_cast<int>(line.size()), width) << fitted;
      }
    }
  }
}

TEST(FitLines, WhatFitsStaysAsItIs) {
  EXPECT_EQ(FitLines(kText, 0, 10), kText);
  EXPECT_EQ(FitLines(kText, 45, 10), kText);
  EXPECT_EQ(FitLines("", 10, 2), "");
  EXPECT_EQ(FitLines("a  b", 10, 2), "a  b");
}

TEST(FitLines, AWordThatFitsNowhereStaysWhereItIs) {
  const std::string path(30, 'p');
  EXPECT_EQ(FitLines("written to " + path, 20, 2), "written to " + path);
  EXPECT_EQ(FitLines("written to " + path + " and then elsewhere", 20, 2),
            "written to " + path + "\n  and then elsewhere");
  EXPECT_EQ(FitLines("  " + path, 20, 2), "  " + path);
}

}  // namespace
}  // namespace bitbudget
