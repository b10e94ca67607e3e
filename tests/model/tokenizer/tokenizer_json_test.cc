#include "runtime/model/tokenizer/tokenizer_json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "runtime/model/architecture/checkpoint.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

json Added(int id, const std::string& text, bool special) {
  return {{"id", id},
          {"content", text},
          {"single_word", false},
          {"lstrip", false},
          {"rstrip", false},
          {"normalized", false},
          {"special", special}};
}

// Byte-level: a b c space(4) newline "ab" " a" and two added tokens.
json ByteLevel() {
  return {
      {"added_tokens", {Added(7, "<|end|>", true), Added(8, "<tool>", false)}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"vocab",
         {{"a", 0}, {"b", 1}, {"c", 2}, {"\u0120", 3}, {"\u010a", 4}, {"ab", 5}, {"\u0120a", 6}}},
        {"merges", {"\u0120 a", "a b"}}}}};
}

// Over characters: unknown, two bytes, U+2581, a, b, U+2581 a, ab and an added token.
json ByteFallback() {
  return {{"added_tokens", {Added(0, "<unk>", true), Added(8, "<s>", true)}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "\u2581"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}}},
          {"pre_tokenizer", nullptr},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"vocab",
             {{"<unk>", 0},
              {"<0xC3>", 1},
              {"<0xA9>", 2},
              {"\u2581", 3},
              {"a", 4},
              {"b", 5},
              {"\u2581"
               "a",
               6},
              {"ab", 7}}},
            {"merges", {"\u2581 a", "a b"}}}}};
}

std::unique_ptr<Tokenizer> Make(const json& document) {
  auto data = ParseTokenizerJson(document.dump(), "tokenizer.json");
  EXPECT_TRUE(data.ok()) << data.status();
  if (!data.ok()) return nullptr;
  auto tokenizer = MakeTokenizer(*std::move(data));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

Ids Encode(const json& document, absl::string_view text, bool special = false) {
  const auto tokenizer = Make(document);
  if (tokenizer == nullptr) return {};
  const auto ids = tokenizer->Encode(text, {.parse_special = special});
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *ids;
}

TEST(TokenizerJson, BytesAreMergedByRank) {
  EXPECT_EQ(Encode(ByteLevel(), "ab ab\nc"), (Ids{5, 6, 1, 4, 2}));
  EXPECT_EQ(Make(ByteLevel())->Decode(Ids{5, 6, 1, 4, 2, 7, 8}), "ab ab\nc<tool>");
  EXPECT_EQ(Encode(ByteLevel(), ""), Ids{});
}

TEST(TokenizerJson, SpecialTokensAreTextUnlessAskedFor) {
  json document = ByteLevel();
  EXPECT_EQ(Encode(document, "a<|end|>b", true), (Ids{0, 7, 1}));
  EXPECT_EQ(Encode(document, "a<|end|>b"), (Ids{0, 1}));  // its other bytes are no tokens here
  EXPECT_EQ(Encode(document, "a<tool>b"), (Ids{0, 8, 1}));
  document["added_tokens"][1]["lstrip"] = true;
  document["added_tokens"][1]["rstrip"] = true;
  EXPECT_EQ(Encode(document, "a \n<tool>\u2003 b"), (Ids{0, 8, 1}));
}

TEST(TokenizerJson, WholePiecesAreTakenWhereMergesAreIgnored) {
  json document = ByteLevel();
  document["model"]["vocab"]["abc"] = 9;
  EXPECT_EQ(Encode(document, "abc ab"), (Ids{5, 2, 6, 1}));
  document["model"]["ignore_merges"] = true;
  EXPECT_EQ(Encode(document, "abc ab"), (Ids{9, 6, 1}));
}

TEST(TokenizerJson, TextIsComposedWhereTheFileSaysSo) {
  json document = ByteLevel();
  document["model"]["vocab"] = {
      {"\u00c3", 0}, {"\u00a9", 1}, {"e", 2}, {"\u00cc", 3}, {"\u0123", 4}};
  document["model"]["merges"] = json::array();
  document["added_tokens"] = json::array();
  EXPECT_EQ(Encode(document, "e\u0301").front(), 2);
  document["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(Encode(document, "e\u0301"), (Ids{0, 1}));  // U+00E9
}

TEST(TokenizerJson, CharactersFallBackToBytes) {
  EXPECT_EQ(Encode(ByteFallback(), "ab a"), (Ids{6, 5, 6}));
  EXPECT_EQ(Encode(ByteFallback(), "\u00e9"), (Ids{3, 1, 2}));
  EXPECT_EQ(Encode(ByteFallback(), "x"), (Ids{3, 0}));  // no such byte token
  EXPECT_EQ(Encode(ByteFallback(), "b<s>b", true), (Ids{3, 5, 8, 3, 5}));
  EXPECT_EQ(Make(ByteFallback())->Decode(Ids{6, 5, 6, 1, 2, 8}), "ab a\u00e9");
}

TEST(TokenizerJson, MetaspacePutsItsSpaceWhereItsSchemeSays) {
  json document = ByteFallback();
  document["normalizer"] = nullptr;
  const auto encode = [&](const char* scheme, bool split, absl::string_view text) {
    document["pre_tokenizer"] = {{"type", "Metaspace"},
                                 {"replacement", "\u2581"},
                                 {"prepend_scheme", scheme},
                                 {"split", split}};
    return Encode(document, text, true);
  };
  EXPECT_EQ(encode("always", true, "b<s>b"), (Ids{3, 5, 8, 3, 5}));
  EXPECT_EQ(encode("first", true, "b<s>b"), (Ids{3, 5, 8, 5}));
  EXPECT_EQ(encode("never", true, "b<s>b"), (Ids{5, 8, 5}));
  EXPECT_EQ(encode("always", true, " b"), (Ids{3, 5}));  // there is one already
  document["model"]["vocab"]["\u2581\u2581"] = 9;
  document["model"]["merges"].push_back(json::array({"\u2581", "\u2581"}));
  EXPECT_EQ(encode("never", false, "b  b"), (Ids{5, 9, 5}));
  EXPECT_EQ(encode("never", true, "b  b"), (Ids{5, 3, 3, 5}));
}

TEST(TokenizerJson, WhatIsNotSupportedIsNamed) {
  const auto refuse = [](const char* pointer,
                         const json& value,
                         const std::vector<std::string>& parts,
                         absl::StatusCode code = absl::StatusCode::kUnimplemented) {
    json document = ByteLevel();
    document[json::json_pointer(pointer)] = value;
    std::vector<std::string> all = parts;
    all.push_back("x/tokenizer.json: ");
    ExpectError(ParseTokenizerJson(document.dump(), "x/tokenizer.json").status(), code, all);
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  refuse("/model/type", "Unigram", {"model.type", "\"Unigram\""});
  refuse("/model/type", "WordPiece", {"model.type", "\"WordPiece\""});
  refuse("/model/dropout", 0.1, {"model.dropout", "0.1"});
  refuse("/model/end_of_word_suffix", "</w>", {"model.end_of_word_suffix", "</w>"});
  refuse("/normalizer", {{"type", "Lowercase"}}, {"normalizer.type", "\"Lowercase\""});
  refuse("/pre_tokenizer/type", "Whitespace", {"pre_tokenizer.type", "\"Whitespace\""});
  refuse("/pre_tokenizer", nullptr, {"model.byte_fallback"});
  refuse("/added_tokens/0/single_word", true, {"added_tokens[0]", "single_word"});
  refuse("/model/vocab/a", -1, {"model.vocab", "-1", "\"a\""}, invalid);
  refuse("/model/vocab/a", 1, {"model.vocab", "1", "\"b\""}, invalid);
  refuse("/model/vocab/a", 1 << 30, {"model.vocab", "1073741824"}, invalid);
  refuse("/model/merges/1", "a x", {"model.merges[1]", "\"a x\"", "\"x\""}, invalid);
  refuse("/model/merges/1", "ab", {"model.merges[1]", "\"ab\""}, invalid);
  refuse("/model/merges/1", json::array({"b", "a"}), {"model.merges[1]", "\"ba\""}, invalid);
  refuse("/model/vocab", 3, {"model.vocab", "3"}, invalid);
  refuse("/added_tokens/0/id", 0, {"added_tokens[0].id"}, invalid);
  refuse("/added_tokens/0/content", 5, {"added_tokens[0].content", "5"}, invalid);
}

TEST(TokenizerJson, WhatStandsAroundATextIsOneTokenOnASide) {
  const auto refuse = [](const json& processor,
                         const std::vector<std::string>& parts,
                         absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    json document = ByteLevel();
    document["post_processor"] = processor;
    std::vector<std::string> all = parts;
    all.push_back("x/tokenizer.json: post_processor");
    ExpectError(ParseTokenizerJson(document.dump(), "x/tokenizer.json").status(), code, all);
  };
  const json text = {{"Sequence", {{"id", "A"}}}};
  const auto token = [](const json& id) { return json{{"SpecialToken", {{"id", id}}}}; };
  const auto single = [](const json& items, const json& table = nullptr) {
    return json{{"type", "TemplateProcessing"}, {"single", items}, {"special_tokens", table}};
  };
  const auto unsupported = absl::StatusCode::kUnimplemented;
  refuse(single({token("<|end|>"), token("<tool>"), text}), {"single[1]", "<tool>"}, unsupported);
  refuse(single({text, token("<tool>"), token("<|end|>")}), {"single[2]", "<|end|>"}, unsupported);
  refuse(single({token("nothing"), text}), {"single[0]", "\"nothing\" is no token"});
  refuse(single({token(7), text}), {"single[0]", "7 is not a string"});
  refuse(single({token("<tool>"), text}, {{"<tool>", {{"ids", {9}}}}}), {"single[0]", "9 tokens"});
  refuse(single({token("<tool>"), text}, {{"<tool>", {{"ids", {-1}}}}}), {"single[0]", "9 tokens"});
  refuse(single({token("<tool>"), text}, {{"<tool>", {{"ids", {1, 2}}}}}),
         {"single[0]", "[1,2]"},
         unsupported);
  refuse(single(5), {"single", "5"});
  refuse({{"type", "RobertaProcessing"}, {"cls", "<tool>"}, {"sep", {"<|end|>", 7}}}, {"cls"});
  refuse({{"type", "BertProcessing"}, {"cls", {"<tool>", 8}}, {"sep", {"<|end|>", 9}}},
         {"sep", "9 tokens"});
  refuse({{"type", "Sequence"},
          {"processors", {single({token("<tool>"), text}), single({token("<|end|>"), text})}}},
         {"processors[1].single[0]"},
         unsupported);
}

class TokenizerFolder : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    WriteTestFile(dir_.File(name), text);
  }
  absl::StatusOr<std::optional<TokenizerData>> Read() { return ReadTokenizerData(dir_.path()); }
  TempDir dir_;
};

TEST_F(TokenizerFolder, FactsComeFromTheirFiles) {
  Write("tokenizer.json", ByteLevel().dump());
  Write("tokenizer_config.json",
        R"({"bos_token": null, "eos_token": {"content": "<|end|>"}, "add_bos_token": false,
            "chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]})");
  Write("special_tokens_map.json",
        R"({"bos_token": "<tool>", "eos_token": "a", "pad_token": "[none]"})");
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->bos_id, 8);
  EXPECT_EQ((*data)->eos_id, 7);
  EXPECT_EQ((*data)->padding_id, -1);
  EXPECT_EQ((*data)->add_bos, false);
  EXPECT_EQ((*data)->chat_template, "d");
  EXPECT_EQ((*data)->pre_name, "gpt-2");
  Write("chat_template.jinja", "j");
  EXPECT_EQ((*Read())->chat_template, "j");
  Write("tokenizer_config.json", R"({"eos_token": "nothing"})");
  ExpectError(Read().status(),
              absl::StatusCode::kInvalidArgument,
              {dir_.File("tokenizer_config.json"), "eos_token", "\"nothing\""});
  for (const char* const field : {"add_bos_token", "add_eos_token"}) {
    Write("tokenizer_config.json", json{{field, "false"}}.dump());
    ExpectError(Read().status(),
                absl::StatusCode::kInvalidArgument,
                {dir_.File("tokenizer_config.json"), field, "\"false\""});
  }
}

TEST_F(TokenizerFolder, ASentencePieceModelGoesBeforeWhatWasMadeOfIt) {
  const std::string model = ReadTestFile(std::string(BITBUDGET_SOURCE_DIR) +
                                         "/tools/demo/models/novel-1m/tokenizer.model");
  Write("tokenizer.model", model);
  Write("added_tokens.json", R"({"<|im_start|>": 1024, "<|im_end|>": 1026})");
  auto tokenizer = OpenTokenizer(dir_.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 1027);
  Ids expected = *(*tokenizer)->Encode("the end");
  expected.push_back(1026);
  EXPECT_EQ(*(*tokenizer)->Encode("the end<|im_end|>"), expected);
  EXPECT_EQ((*tokenizer)->Decode(expected), "the end<|im_end|>");
  EXPECT_TRUE((*tokenizer)->IsSpecial(1025));

  // Byte-level BPE is not made of it.
  Write("tokenizer.json", ByteLevel().dump());
  EXPECT_EQ((*Read())->kind, TokenizerKind::kByteLevelBpe);
  // Of what cannot be read the model remains.
  Write("tokenizer.json", R"({"model": {"type": "Unigram", "vocab": []}})");
  EXPECT_EQ((*Read())->kind, TokenizerKind::kScoreBpe);
  Write("tokenizer.json", "{");
  ExpectError(Read().status(), absl::StatusCode::kInvalidArgument, {dir_.File("tokenizer.json")});
}

TEST_F(TokenizerFolder, AModelWhoseTextsBeginWithoutATokenHasNone) {
  const std::string model = std::string(BITBUDGET_SOURCE_DIR) + "/tools/demo/models/novel-1m";
  for (const char* const file : {"config.json", "model.safetensors", "tokenizer.model"}) {
    std::filesystem::copy(model + "/" + file, dir_.File(file));
  }
  const auto with = OpenCheckpoint(dir_.path());
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ(with->config.bos_token_id, 1);
  Write("tokenizer_config.json", R"({"add_bos_token": false})");
  const auto without = OpenCheckpoint(dir_.path());
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ(without->config.bos_token_id, std::nullopt);
}

}  // namespace
}  // namespace bitbudget
