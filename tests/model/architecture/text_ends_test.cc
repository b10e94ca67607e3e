#include "runtime/model/architecture/text_ends.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "runtime/model/architecture/checkpoint.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

TEST(TextEnds, GenerationConfigIsReadStrictly) {
  const TinyModel model;
  const std::string path = model.path() + "/generation_config.json";
  const auto refuse = [&](const std::string& text, const std::vector<std::string>& parts) {
    SCOPED_TRACE(text);
    WriteTestFile(path, text);
    std::vector<std::string> all = parts;
    all.push_back(path);
    ExpectError(OpenCheckpoint(model.path()).status(), absl::StatusCode::kInvalidArgument, all);
  };
  for (const char* const bad :
       {"64", "-1", "\"2\"", "2.5", "true", "[2,64]", "[[2]]", "{}", "18446744073709551615"}) {
    refuse(std::string("{\"eos_token_id\": ") + bad + "}", {"eos_token_id", bad});
  }
  refuse("[2]", {"[2]", "not a JSON object"});
  refuse("{", {"bad JSON"});
  WriteTestFile(path, R"({"eos_token_id": [63, 0], "bos_token_id": "any", "top_p": 0.9})");
  const auto read = OpenCheckpoint(model.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.eos_token_ids, std::vector<int32_t>({63, 0}));
  EXPECT_EQ(read->config.bos_token_id, 1);
}

}  // namespace
}  // namespace bitbudget
