// The environment variable BITBUDGET_CPU really changes the tier that runs, and no tier changes a
// result.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>
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

// The best tier by what Linux says of the CPU: its list leaves out what it does not save.
std::string BestTier() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; flags.empty() && std::getline(cpuinfo, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) flags.insert(word);
  }
  const auto has = [&](std::initializer_list<const char*> names) {
    return std::all_of(
        names.begin(), names.end(), [&](const char* n) { return flags.contains(n); });
  };
  if (!has({"avx2", "fma", "f16c", "popcnt"})) return "portable";
  return has({"avx512f", "avx512bw", "avx512vl", "avx512_vnni"}) ? "avx512vnni" : "avx2";
}

TEST(Dispatch, TheDefaultIsTheBestTierOfTheCpu) {
  const std::string out = Probe("");
  EXPECT_EQ(Line(out, "tier"), BestTier());
  EXPECT_EQ(DefaultKernels().name, BestTier());
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
