// The environment variable BITBUDGET_CPU really changes the tier that runs, and no tier changes a
// result.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

// What kernel_probe prints with BITBUDGET_CPU=`value`.
std::string Probe(const std::string& value) {
  const std::string command = "BITBUDGET_CPU='" + value + "' '" BITBUDGET_KERNEL_PROBE "'";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  std::string out;
  char buffer[4096];
  for (size_t size; (size = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    out.append(buffer, size);
  }
  EXPECT_EQ(pclose(pipe), 0) << command;
  return out;
}

std::string Line(const std::string& text, const std::string& key) {
  const size_t before = ("\n" + text).find("\n" + key + " ");
  if (before == std::string::npos) return "";
  const size_t begin = before + key.size() + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(Dispatch, TiersAreSlowestFirstAndAlwaysIncludePortable) {
  ASSERT_FALSE(AvailableKernels().empty());
  EXPECT_STREQ(AvailableKernels().front()->name, "portable");
}

TEST(Dispatch, TheOverrideChangesTheTier) {
  for (const KernelTable* table : AvailableKernels()) {
    const std::string out = Probe(table->name);
    EXPECT_EQ(Line(out, "tier"), table->name);
    EXPECT_EQ(Line(out, "override"), "OK");
  }
}

TEST(Dispatch, TheDefaultIsNeverATierThatIsOffByDefault) {
  const std::string out = Probe("");
  EXPECT_EQ(Line(out, "tier"), DefaultKernels().name);
  const bool has_avx2 = AvailableKernels().size() > 1;
  EXPECT_STREQ(DefaultKernels().name, has_avx2 ? "avx2" : "portable");
  EXPECT_EQ(Line(out, "override"), "OK");
}

TEST(Dispatch, AnUnknownTierIsReportedAndTheDefaultRuns) {
  const std::string out = Probe("sse9");
  EXPECT_EQ(Line(out, "tier"), DefaultKernels().name);
  const std::string verdict = Line(out, "override");
  EXPECT_NE(verdict.find("INVALID_ARGUMENT"), std::string::npos) << verdict;
  EXPECT_NE(verdict.find("BITBUDGET_CPU=sse9"), std::string::npos) << verdict;
  EXPECT_NE(verdict.find("available: portable"), std::string::npos) << verdict;
}

TEST(Dispatch, MatrixProductsAndAttentionAreTheSameInEveryTier) {
  const std::string first = Probe("portable");
  for (const char* key : {"f32",
                          "bf16",
                          "int8",
                          "int8z-g64",
                          "int4-g32",
                          "int3-g64",
                          "a8:int3-g64",
                          "a8:int2z-g32",
                          "a8:int4-g32+s50",
                          "onebit-ln",
                          "a8:int8",
                          "a8:int8z-g64",
                          "a8:int4-g32",
                          "a8:int4z-g64",
                          "attention"}) {
    EXPECT_EQ(Line(first, key).size(), 64u) << key;
    for (const KernelTable* table : AvailableKernels()) {
      EXPECT_EQ(Line(Probe(table->name), key), Line(first, key)) << table->name << " " << key;
    }
  }
}

}  // namespace
}  // namespace bitbudget
