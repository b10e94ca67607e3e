#include "search/methods.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/match.h"

namespace bitbudget {
namespace {

TEST(SearchMethodsTest, EveryRowIsFoundByItsNameAndMakesTheMethodOfThatName) {
  std::set<std::string> names;
  for (const MethodInfo& row : SearchMethods()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_FALSE(std::string(row.description).empty()) << row.name;
    const absl::StatusOr<const MethodInfo*> found = FindMethod(row.name);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, &row);
    EXPECT_EQ(row.make(MethodOptions())->name(), row.name);
  }
  EXPECT_EQ(names.size(), SearchMethodNames().size());
}

TEST(SearchMethodsTest, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const absl::Status status = FindMethod("greedi").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"search method 'greedi'", "'greedy'", "sparsify"}) {
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
  }
}

TEST(SearchMethodsTest, NeedsFollowTheOptions) {
  const auto needs = [](const char* name, const MethodOptions& options) {
    return (*FindMethod(name))->needs(options);
  };
  MethodOptions exhaustive;
  exhaustive.exhaustive = true;
  MethodOptions by_text;
  by_text.beam_order = MeritKind::kPpl;
  for (const char* name : {"greedy", "additive"}) {
    EXPECT_TRUE(needs(name, MethodOptions()).output_errors) << name;
    EXPECT_FALSE(needs(name, exhaustive).output_errors) << name;
  }
  EXPECT_FALSE(needs("beam", MethodOptions()).output_errors);
  EXPECT_FALSE(needs("beam", MethodOptions()).text);
  EXPECT_TRUE(needs("beam", by_text).text);
  EXPECT_FALSE(needs("greedy", by_text).text);
  EXPECT_EQ(needs("layerwise", MethodOptions()).layer_order, MethodNeeds::LayerOrder::kScored);
  EXPECT_EQ(needs("random", MethodOptions()).layer_order, MethodNeeds::LayerOrder::kRandom);
  EXPECT_EQ(needs("uniform", MethodOptions()).layer_order, MethodNeeds::LayerOrder::kNone);
}

TEST(SearchMethodsTest, UniformAndSparsifyMeetASparsityTarget) {
  for (const MethodInfo& row : SearchMethods()) {
    const std::string name = row.name;
    EXPECT_EQ(row.takes_sparsity, name == "uniform" || name == "sparsify") << name;
  }
}

TEST(SearchMethodsTest, OptionsNameWhatIsWrong) {
  MethodOptions options;
  EXPECT_TRUE(CheckMethodOptions(options).ok());
  options.beam_width = 0;
  EXPECT_TRUE(absl::StrContains(CheckMethodOptions(options).message(), "beam width is 0"));
}

}  // namespace
}  // namespace bitbudget
