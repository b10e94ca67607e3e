#include "runtime/base/known_names.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bitbudget {
namespace {

std::string Message(absl::string_view name) {
  const absl::Status status = UnknownName("encoder", name, {"rtn", "clip", "gptq", "gptq+block"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(UnknownName, SuggestsTheNearestName) {
  constexpr absl::string_view kKnown = "known are: rtn, clip, gptq, gptq+block";
  EXPECT_EQ(Message("gptg"), "unknown encoder 'gptg'; did you mean 'gptq'? " + std::string(kKnown));
  EXPECT_NE(Message("GPTQ").find("did you mean 'gptq'?"), std::string::npos);
  EXPECT_NE(Message("rnt").find("did you mean 'rtn'?"), std::string::npos);
  EXPECT_NE(Message("gptqblock").find("did you mean 'gptq+block'?"), std::string::npos);
}

TEST(UnknownName, SuggestsNothingThatIsFar) {
  EXPECT_EQ(Message("awq"), "unknown encoder 'awq'; known are: rtn, clip, gptq, gptq+block");
  EXPECT_EQ(Message(""), "unknown encoder ''; known are: rtn, clip, gptq, gptq+block");
}

TEST(UnknownName, StaysOneShortLine) {
  EXPECT_NE(Message("a\nb").find("'a\\nb'"), std::string::npos);
  EXPECT_LT(Message(std::string(100000, 'x')).size(), 200u);
}

TEST(UnknownName, TakesEveryKindOfList) {
  const std::vector<std::string> strings = {"fdt", "kl"};
  constexpr absl::string_view kViews[] = {"fdt", "kl"};
  EXPECT_EQ(UnknownName("objective", "ftd", strings), UnknownName("objective", "ftd", kViews));
}

}  // namespace
}  // namespace bitbudget
