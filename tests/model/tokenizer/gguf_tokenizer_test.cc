#include "runtime/model/tokenizer/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/model/tokenizer/gguf_ends.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

std::string ModelPath() {
  return std::string(BITBUDGET_SOURCE_DIR) + "/tools/demo/models/novel-1m";
}

// What `read` makes of a GGUF file with what was added to the writer.
template <typename Read>
auto FromFile(const GgufWriter& writer, const TempDir& dir, Read read) {
  const absl::Status written =
      writer.Write(dir.File("v.gguf"), [](int, std::vector<uint8_t>*) { return absl::OkStatus(); });
  EXPECT_TRUE(written.ok()) << written;
  const std::string bytes = ReadTestFile(dir.File("v.gguf"));
  const auto file = ParseGguf(std::as_bytes(std::span(bytes)), "v.gguf");
  EXPECT_TRUE(file.ok()) << file.status();
  return read(*file);
}

// The data as a GGUF file gives it back.
TokenizerData ThroughGguf(const TokenizerData& data, int64_t vocab_size, const TempDir& dir) {
  GgufWriter writer;
  const absl::Status added = AddTokenizer(data, vocab_size, {&data.eos_id, 1}, &writer);
  EXPECT_TRUE(added.ok()) << added;
  auto read = FromFile(writer, dir, TokenizerDataFromGguf);
  EXPECT_TRUE(read.ok()) << read.status();
  return **std::move(read);
}

TEST(GgufTokenizer, GivesTheIdsThatSentencePiecesLibraryGives) {
  TempDir dir;
  const auto library = OpenTokenizer(ModelPath());
  ASSERT_TRUE(library.ok()) << library.status();
  const auto own = MakeTokenizer(ThroughGguf((*library)->data(), 1024, dir));
  ASSERT_TRUE(own.ok()) << own.status();
  Random random(3);
  std::vector<std::string> texts = {
      "", " ", "It was late.\n\n  They left - didn't they?\n", "\n\n a"};
  // Joined pieces of the vocabulary, so that there is much to merge.
  for (int i = 0; i < 300; ++i) {
    std::vector<int32_t> ids;
    for (uint64_t n = random.Below(40); n > 0; --n) {
      ids.push_back(static_cast<int32_t>(3 + random.Below(1021)));
    }
    texts.push_back((*library)->Decode(ids));
  }
  for (const std::string& text : texts) {
    const auto ids = (*own)->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, *(*library)->Encode(text)) << text;
    EXPECT_EQ((*own)->Decode(*ids), (*library)->Decode(*ids));
  }
}

TEST(GgufTokenizer, KeepsWhatItIsGiven) {
  TempDir dir;
  TokenizerData data;
  data.kind = TokenizerKind::kByteLevelBpe;
  data.source = "here";
  data.tokens = {{.text = "a"},
                 {.text = "b"},
                 {.text = "ab"},
                 {.text = "<s>", .type = TokenType::kControl},
                 {.text = "", .type = TokenType::kUnused},
                 {.text = "<tool>", .type = TokenType::kUserDefined}};
  data.merges = {{0, 1}};
  data.pre_name = "qwen2";
  data.bos_id = 3;
  data.eos_id = 2;
  data.add_bos = false;
  data.chat_template = "{{ m }}";
  const TokenizerData read = ThroughGguf(data, 8, dir);
  EXPECT_EQ(read.kind, data.kind);
  EXPECT_EQ(read.merges, data.merges);
  EXPECT_EQ(read.pre_name, "qwen2");
  EXPECT_FALSE(read.ignore_merges);
  EXPECT_EQ(read.bos_id, 3);
  EXPECT_EQ(read.eos_id, 2);
  EXPECT_EQ(read.unknown_id, -1);
  EXPECT_EQ(read.add_bos, false);
  EXPECT_EQ(read.chat_template, "{{ m }}");
  ASSERT_EQ(read.tokens.size(), 8u);
  for (const size_t id : {0, 1, 2, 3, 5}) {
    EXPECT_EQ(read.tokens[id].text, data.tokens[id].text);
    EXPECT_EQ(read.tokens[id].type, data.tokens[id].type);
  }
  // Rows of the embedding without a token.
  for (const size_t id : {4, 6, 7}) {
    EXPECT_EQ(read.tokens[id].text, "[PAD" + std::to_string(id) + "]");
    EXPECT_EQ(read.tokens[id].type, TokenType::kUnused);
  }
}

TEST(GgufTokenizer, WithoutKeysTextsBeginAsInLlamaCpp) {
  struct Expected {
    const char* model;
    const char* pre;
    size_t tokens;
    int32_t first;  // -1: none
  };
  const Expected all[] = {{"llama", "default", 12, 1},
                          {"llama", "default", 1, -1},
                          {"gpt2", "gpt-2", 12, -1},
                          {"gpt2", "llama-bpe", 12, 11},
                          {"gpt2", "llama-bpe", 11, -1}};
  for (const Expected& expected : all) {
    TempDir dir;
    GgufWriter writer;
    std::vector<std::string> texts;
    for (size_t i = 0; i < expected.tokens; ++i) texts.push_back(std::string(1, "abcdefghijkl"[i]));
    writer.AddText("tokenizer.ggml.model", expected.model);
    writer.AddText("tokenizer.ggml.pre", expected.pre);
    writer.AddTexts("tokenizer.ggml.tokens", texts);
    writer.AddF32s("tokenizer.ggml.scores", std::vector<float>(texts.size()));
    writer.AddTexts("tokenizer.ggml.merges", {});
    const auto data = FromFile(writer, dir, TokenizerDataFromGguf);
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ(*(*data)->add_bos ? (*data)->bos_id : -1, expected.first);
  }
}

TEST(GgufEnds, AreThoseThatWereWritten) {
  using Ids = std::vector<int32_t>;
  TempDir dir;
  const auto through = [&](const Ids& ends, int32_t first) {
    GgufWriter writer;
    AddEndTokens(ends, first, &writer);
    return *FromFile(writer, dir, [](const GgufFile& file) { return EndTokens(file, 100); });
  };
  EXPECT_EQ(through({}, 5), Ids());
  EXPECT_EQ(through({7}, 5), Ids({7}));
  EXPECT_EQ(through({7, 5, 7}, 5), Ids({5, 7}));
  EXPECT_EQ(through({1, 2, 3, 4, 5, 6}, 4), Ids({4, 1, 2, 3, 5, 6}));

  GgufWriter outside;
  outside.AddU32("tokenizer.ggml.eos_token_id", 100);
  outside.AddU32("tokenizer.ggml.eot_token_id", UINT32_MAX);
  outside.AddU32("tokenizer.ggml.eom_token_id", 99);
  const auto end_tokens = [](const GgufFile& file) { return EndTokens(file, 100); };
  EXPECT_EQ(*FromFile(outside, dir, end_tokens), Ids({99}));
  for (const char* const key : {"tokenizer.ggml.eot_token_id", "bitbudget.end_token_ids"}) {
    GgufWriter wrong;
    wrong.AddText(key, "two");
    ExpectError(FromFile(wrong, dir, end_tokens).status(),
                absl::StatusCode::kInvalidArgument,
                {"v.gguf", key, "two"});
    GgufWriter negative;
    negative.AddI32s(key, Ids({3, -1}));
    ExpectError(FromFile(negative, dir, end_tokens).status(),
                absl::StatusCode::kInvalidArgument,
                {"v.gguf", key, "-1"});
  }
}

TEST(GgufTokenizer, WhatGgufCannotExpressIsRefused) {
  TokenizerData data;
  data.source = "some/tokenizer.json";
  data.tokens = {
      {.text = "a"}, {.text = "b"}, {.text = "c"}, {.text = "ab"}, {.text = "bc"}, {.text = "abc"}};
  const auto refuse = [&](const std::string& part) {
    GgufWriter writer;
    ExpectError(AddTokenizer(data, 6, {}, &writer),
                absl::StatusCode::kUnimplemented,
                {"some/tokenizer.json", part});
  };
  data.kind = TokenizerKind::kByteLevelBpe;
  refuse("pre-tokenizer");
  data.kind = TokenizerKind::kUnigram;
  refuse("unigram");
  data.kind = TokenizerKind::kByteFallbackBpe;
  data.merges = {{0, 1}, {1, 2}, {3, 2}};
  refuse("\"a\" and \"bc\" are not merged into \"abc\"");
  data.merges = {{0, 1}, {3, 2}, {1, 2}, {0, 4}};
  refuse("\"abc\" are not adjacent");
  data.merges = {{0, 1}, {1, 2}, {3, 2}, {0, 4}};
  GgufWriter writer;
  EXPECT_TRUE(AddTokenizer(data, 6, {}, &writer).ok());
}

}  // namespace
}  // namespace bitbudget
