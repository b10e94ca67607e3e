#include "runtime/base/utf8.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace bitbudget {
namespace {

TEST(ToNfc, OrdersMarksAndComposes) {
  EXPECT_EQ(ToNfc("plain"), "plain");
  EXPECT_EQ(ToNfc("e\u0301"), "\u00e9");
  // A mark below comes first and does not keep the one above from its letter.
  EXPECT_EQ(ToNfc("a\u0301\u0316"), "\u00e1\u0316");
  EXPECT_EQ(ToNfc("\u00e1\u0316\u0302"), "\u00e1\u0316\u0302");
  EXPECT_EQ(ToNfc("a\u0316\u0344\u0323"), "\u00e4\u0316\u0323\u0301");
  EXPECT_EQ(ToNfc("\u0301x\u0316"), "\u0301x\u0316");
}

TEST(ToNfc, ManyMarksTakeNoLongerThanOtherText) {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) text += "\u0301\u0316";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ToNfc(text).size(), text.size() - 1);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace bitbudget
