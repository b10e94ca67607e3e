#include "planner/output/safetensors_output.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "planner/output/decoded_tensors.h"
#include "planner/output/side_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

// What a safetensors file says and holds: {name: (dtype, bytes)}.
std::map<std::string, std::pair<std::string, std::string>> ReadBack(const std::string& path) {
  const std::string file = ReadTestFile(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0u);
  const auto header = nlohmann::json::parse(file.substr(8, length));
  std::map<std::string, std::pair<std::string, std::string>> tensors;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    const int64_t begin = value["data_offsets"][0], end = value["data_offsets"][1];
    tensors[name] = {value["dtype"], file.substr(8 + length + begin, end - begin)};
  }
  return tensors;
}

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

TEST(WriteSafetensors, ClosesAShardBeforeItWouldHoldMore) {
  const std::vector<float> a = {1, 2}, b = {3, 4}, c = {5};
  const std::vector<OutputTensor> tensors = {ValuesTensor("a", {2}, a, kFormatF32),
                                             ValuesTensor("b", {2}, b, kFormatF32),
                                             ValuesTensor("c", {1}, c, kFormatF32)};
  const TempDir folder;
  Progress progress;
  ASSERT_TRUE(WriteSafetensors(tensors, folder.path(), /*shard_bytes=*/15, &progress).ok());
  const auto index =
      nlohmann::json::parse(ReadTestFile(folder.File("model.safetensors.index.json")));
  EXPECT_EQ(index["metadata"]["total_size"], 20);
  EXPECT_EQ(index["weight_map"]["a"], "model-00001-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["b"], "model-00002-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00002.safetensors");
  const auto second = ReadBack(folder.File("model-00002-of-00002.safetensors"));
  EXPECT_EQ(second.at("b"), std::pair(std::string("F32"), Floats(b)));
  EXPECT_EQ(second.at("c"), std::pair(std::string("F32"), Floats(c)));

  const TempDir whole;
  ASSERT_TRUE(WriteSafetensors(tensors, whole.path(), /*shard_bytes=*/20, &progress).ok());
  EXPECT_EQ(ReadBack(whole.File("model.safetensors")).size(), 3u);
  EXPECT_FALSE(fs::exists(whole.File("model.safetensors.index.json")));
}

TEST(ValuesTensor, RefusesWhatF16CannotHold) {
  const std::vector<float> values = {1, 70000};
  EXPECT_TRUE(ValuesTensor("norm", {2}, values, kFormatBF16).produce().ok());
  ExpectError(ValuesTensor("norm", {2}, values, kFormatF16).produce().status(),
              absl::StatusCode::kInvalidArgument,
              {"norm", "70000", "f16"});
}

TEST(CopySideFiles, LeavesOutWeightsAndConfig) {
  const TempDir from, to;
  for (const char* name : {"tokenizer.json",
                           "generation_config.json",
                           "config.json",
                           "model.safetensors",
                           "model.safetensors.index.json",
                           "pytorch_model.bin",
                           "model.gguf"}) {
    WriteTestFile(from.File(name), name);
  }
  fs::create_directory(from.File("folder"));
  ASSERT_TRUE(CopySideFiles(from.path(), to.path()).ok());
  std::set<std::string> copied;
  for (const auto& entry : fs::directory_iterator(to.path())) {
    copied.insert(entry.path().filename().string());
  }
  EXPECT_EQ(copied, (std::set<std::string>{"tokenizer.json", "generation_config.json"}));
  EXPECT_EQ(ReadTestFile(to.File("tokenizer.json")), "tokenizer.json");
}

}  // namespace
}  // namespace bitbudget
