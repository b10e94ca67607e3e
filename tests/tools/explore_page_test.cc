#include "tools/explore_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace bitbudget {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

int Count(absl::string_view text, absl::string_view part) {
  int count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ExplorePageTest, HoldsD3AndItsOwnFilesByteForByte) {
  const std::string page = ExplorePage("a model", "{}");
  EXPECT_THAT(page, HasSubstr(Contents(BITBUDGET_D3)));
  EXPECT_THAT(page, HasSubstr(Contents(absl::StrCat(BITBUDGET_EXPLORE, "/d3_license.txt"))));
  int scripts = 0;
  for (const auto& file : std::filesystem::directory_iterator(BITBUDGET_EXPLORE)) {
    if (file.path().extension() == ".js") {
      ++scripts;
      EXPECT_THAT(page, HasSubstr(Contents(file.path()))) << file.path();
    }
  }
  EXPECT_GT(scripts, 5);
  EXPECT_THAT(page, HasSubstr(Contents(absl::StrCat(BITBUDGET_EXPLORE, "/page.css"))));
  EXPECT_TRUE(absl::StartsWith(page, "<!DOCTYPE html>"));
  EXPECT_TRUE(absl::EndsWith(page, "</html>\n"));
}

TEST(ExplorePageTest, ATitleStaysText) {
  const std::string page =
      ExplorePage("<b>\"A\" & 'B'</b></title><script>x</script>{{data}}", "{}");
  EXPECT_THAT(page, HasSubstr("<title>&lt;b&gt;&quot;A&quot; &amp; &#39;B&#39;&lt;/b&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("<b>")));
  EXPECT_THAT(page, Not(HasSubstr("<script>x")));
  EXPECT_EQ(Count(page, "</title>"), 1);
  EXPECT_THAT(page, HasSubstr("id=\"data\">{}</script>"));
}

TEST(ExplorePageTest, DataCannotEndItsElement) {
  const std::string empty = ExplorePage("t", "{}");
  const std::string page =
      ExplorePage("t", R"({"a":"</script><script>x()</script><!--","b":"{{title}} {{js}}"})");
  EXPECT_EQ(Count(page, "</script"), Count(empty, "</script"));
  EXPECT_EQ(Count(page, "<!--"), Count(empty, "<!--"));
  EXPECT_THAT(page, HasSubstr(R"({"a":"\u003c/script>\u003cscript>x()\u003c/script>\u003c!--")"));
  EXPECT_THAT(page, HasSubstr(R"("b":"{{title}} {{js}}")"));
}

TEST(ExplorePageTest, NamesNoFileToLoad) {
  std::string page = ExplorePage("t", "{}");
  EXPECT_THAT(page, Not(HasSubstr("<script src")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
  EXPECT_THAT(page, Not(HasSubstr("url(http")));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

}  // namespace
}  // namespace bitbudget
