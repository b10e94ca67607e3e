#include "runtime/model/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/base/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

std::string BundledPath(const std::string& file) {
  return absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/", file);
}

std::unique_ptr<Tokenizer> Bundled(const std::string& model) {
  auto tokenizer = OpenTokenizer(BundledPath(model));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

// The golden sequences are cut out of a book, mostly within words, so that their first and last
// few ids differ from the ids of the text alone. All between is one segmentation and no other.
TEST(Tokenizer, DecodedTextOfTheGoldenSequencesEncodesToTheSameIds) {
  constexpr size_t kEdge = 8;  // ids of the cut words at most, on either side
  for (const std::string model : {"novel-1m", "novel-8m"}) {
    SCOPED_TRACE(model);
    const std::unique_ptr<Tokenizer> tokenizer = Bundled(model);
    const nlohmann::json golden =
        nlohmann::json::parse(ReadTestFile(BundledPath(model + "/golden.json")));
    size_t compared = 0;
    for (const nlohmann::json& sequence : golden["sequences"]) {
      const std::vector<int32_t> tokens = sequence["tokens"];
      ASSERT_EQ(tokens.front(), 1);  // BOS
      const std::string text = tokenizer->Decode(tokens);
      EXPECT_FALSE(text.empty());
      const auto ids = tokenizer->Encode(text);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(tokenizer->Decode(*ids), text);
      if (tokens.size() <= 2 * kEdge) continue;
      const std::vector<int32_t> inner(tokens.begin() + kEdge, tokens.end() - kEdge);
      EXPECT_NE(std::search(ids->begin(), ids->end(), inner.begin(), inner.end()), ids->end())
          << text;
      compared += inner.size();
    }
    EXPECT_GT(compared, 100u);
  }
}

TEST(Tokenizer, TextSurvivesAndControlTokensAddNothing) {
  const std::unique_ptr<Tokenizer> tokenizer = Bundled("novel-8m");
  for (const std::string text : {"It was the best of times", "a", "Then he said: no."}) {
    const auto ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_NE(ids->front(), 1);  // no BOS is added
    EXPECT_EQ(tokenizer->Decode(*ids), text);
    std::vector<int32_t> with_control = *ids;
    with_control.insert(with_control.begin(), 1);
    with_control.push_back(2);
    EXPECT_EQ(tokenizer->Decode(with_control), text);
  }
  EXPECT_TRUE(tokenizer->Encode("")->empty());
  EXPECT_EQ(tokenizer->Decode({}), "");
  EXPECT_TRUE(tokenizer->Encode("\xff\xfe broken").ok());
}

TEST(Tokenizer, IdsWithoutAPieceAreSpecialAndGiveNoText) {
  const std::unique_ptr<Tokenizer> tokenizer = Bundled("novel-1m");
  const int32_t size = static_cast<int32_t>(tokenizer->vocab_size());
  EXPECT_EQ(size, 1024);
  EXPECT_TRUE(tokenizer->IsSpecial(0));  // <unk>
  EXPECT_TRUE(tokenizer->IsSpecial(1));  // <s>
  EXPECT_TRUE(tokenizer->IsSpecial(2));  // </s>
  EXPECT_FALSE(tokenizer->IsSpecial(size - 1));
  const std::vector<int32_t> some = *tokenizer->Encode("hello there");
  std::vector<int32_t> padded = some;
  for (const int32_t id : {-1, INT32_MIN, size, size + 100, INT32_MAX}) {
    EXPECT_TRUE(tokenizer->IsSpecial(id));
    padded.insert(padded.begin() + 1, id);
  }
  EXPECT_EQ(tokenizer->Decode(padded), tokenizer->Decode(some));
}

TEST(Tokenizer, ManyThreadsMayEncodeAtOnce) {
  const std::unique_ptr<Tokenizer> tokenizer = Bundled("novel-1m");
  const std::vector<int32_t> expected = *tokenizer->Encode("the quick brown fox");
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        count += *tokenizer->Encode("the quick brown fox") != expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(OpenTokenizer, AFolderWithoutOneGivesNull) {
  TempDir dir;
  const auto tokenizer = OpenTokenizer(dir.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*tokenizer, nullptr);
}

TEST(OpenTokenizer, DamagedFilesAreRefusedOrReadAndNothingIsPrinted) {
  TempDir dir;
  const std::string path = dir.File("tokenizer.model");
  const std::string good = ReadTestFile(BundledPath("novel-1m/tokenizer.model"));
  testing::internal::CaptureStderr();
  int refused = 0;
  const auto open = [&](const std::string& bytes) {
    WriteTestFile(path, bytes);
    const auto tokenizer = OpenTokenizer(dir.path());
    if (tokenizer.ok()) {
      EXPECT_TRUE((*tokenizer)->Encode("some text").ok());
      return;
    }
    ++refused;
    ExpectError(tokenizer.status(), absl::StatusCode::kInvalidArgument, {path});
  };
  open("");
  for (size_t size = 1; size < good.size(); size += 97) open(good.substr(0, size));
  EXPECT_GT(refused, 0);
  Random random(7);
  for (int i = 0; i < 300; ++i) {
    std::string broken = good;
    broken[random.Below(broken.size())] = static_cast<char>(random.Below(256));
    open(broken);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace bitbudget
