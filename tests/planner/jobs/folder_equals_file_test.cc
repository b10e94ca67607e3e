// A folder and the GGUF file that is written from it: the same first token, the same ends, the same
// tokens for texts, the same model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "planner/output/gguf_output.h"
#include "runtime/eval/probes.h"
#include "runtime/model/architecture/text_ends.h"
#include "tests/planner/jobs/apply_test_util.h"

namespace bitbudget {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr int32_t kFirst = 257;  // "<first>", behind 256 bytes and "th"
constexpr int32_t kEnd = 258;    // "<end>"
constexpr int32_t kTurn = 259;   // "<turn>"
constexpr int32_t kMark = 260;   // "<mark>", which texts are searched for
constexpr int64_t kRows = 264;

json Added(int32_t id, const char* text, bool special = true) {
  return {{"id", id}, {"content", text}, {"special", special}};
}

// GPT-2's character for a byte: visible ones of Latin-1 are themselves, the others U+0100 and on.
std::string ByteCharacter(int byte) {
  const auto visible = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
  };
  int code = byte;
  if (!visible(byte)) {
    code = 256;
    for (int other = 0; other < byte; ++other) code += visible(other) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// A byte-level tokenizer.json.
json ByteLevel(const json& post_processor = nullptr) {
  json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[ByteCharacter(byte)] = byte;
  }
  vocabulary["th"] = 256;
  return {{"added_tokens",
           {Added(kFirst, "<first>"),
            Added(kEnd, "<end>"),
            Added(kTurn, "<turn>"),
            Added(kMark, "<mark>", false)}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"post_processor", post_processor},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"t h"}}}}};
}

// Characters with byte tokens for all others, as made from a SentencePiece model.
json ByteFallback() {
  json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"\u2581", 3}, {"t", 4}, {"h", 5}};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    vocabulary[text] = 6 + byte;
  }
  vocabulary["th"] = 262;
  return {{"added_tokens", {Added(0, "<unk>"), Added(1, "<s>"), Added(2, "</s>")}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "\u2581"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"vocab", vocabulary},
            {"merges", {"t h"}}}}};
}

json Special(const char* text) { return {{"SpecialToken", {{"id", text}, {"type_id", 0}}}}; }

// A TemplateProcessing of these tokens around a text.
json Template(const std::vector<const char*>& ahead, const std::vector<const char*>& behind = {}) {
  json single = json::array();
  for (const char* const text : ahead) single.push_back(Special(text));
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (const char* const text : behind) single.push_back(Special(text));
  json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}};
}

const json kOffsets = {{"type", "ByteLevel"}, {"trim_offsets", false}};

constexpr char kPieces[] = "1024 pieces";

struct Case {
  std::string name;
  json tokenizer;  // tokenizer.json; null: none
  json facts;      // tokenizer_config.json; null: none
  json config;     // over {"bos_token_id": 3, "eos_token_id": 4}
  std::optional<int32_t> first;
  Ids ends;
  json generation = nullptr;  // generation_config.json; null: none
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> Cases() {
  const json named = {{"bos_token", "<first>"}, {"eos_token", {{"content", "<end>"}}}};
  const auto with = [&](json more) {
    json facts = named;
    facts.update(more);
    return facts;
  };
  json other_id = Template({"<first>"});
  other_id["special_tokens"] = {{"<first>", {{"id", "<first>"}, {"ids", {kTurn}}}}};
  const json roberta = {
      {"type", "RobertaProcessing"}, {"cls", {"<first>", kFirst}}, {"sep", {"<end>", kEnd}}};
  const json none = json::object();
  const std::optional<int32_t> nothing;
  const json pieces = {{kPieces, true}};
  json beside = ByteFallback();
  beside.update({{kPieces, true}, {"post_processor", Template({})}});
  const json unsaid = {{"bos_token_id", nullptr}, {"eos_token_id", nullptr}};
  return {
      // What texts begin with.
      {"Template", ByteLevel(Template({"<first>"})), named, none, kFirst, {4}},
      {"TemplateAlone", ByteLevel(Template({"<first>"})), nullptr, none, kFirst, {4}},
      {"TemplateTwice", ByteLevel(Template({"<first>", "<first>"})), named, none, kFirst, {4}},
      {"TemplateOfAnotherToken", ByteLevel(Template({"<turn>"})), named, none, kTurn, {4}},
      {"TemplateOfAnotherId", ByteLevel(other_id), named, none, kTurn, {4}},
      {"TemplateOfAMark", ByteLevel(Template({"<mark>"})), named, none, kMark, {4}},
      {"TemplateWithAnEnd", ByteLevel(Template({"<first>"}, {"<end>"})), named, none, kFirst, {4}},
      {"TemplateOfTheTextAlone", ByteLevel(Template({})), named, none, nothing, {4}},
      {"TemplateOfAnEndAlone", ByteLevel(Template({}, {"<end>"})), named, none, nothing, {4}},
      {"TemplateInASequence",
       ByteLevel({{"type", "Sequence"}, {"processors", {kOffsets, Template({"<first>"})}}}),
       named,
       none,
       kFirst,
       {4}},
      {"Roberta", ByteLevel(roberta), nullptr, unsaid, kFirst, {kEnd}},
      {"OffsetsAlone", ByteLevel(kOffsets), named, none, nothing, {4}},
      {"Nothing", ByteLevel(), nullptr, none, nothing, {4}},
      {"Asked", ByteLevel(), with({{"add_bos_token", true}}), none, kFirst, {4}},
      {"AskedOverATemplate",
       ByteLevel(Template({"<turn>"})),
       with({{"add_bos_token", true}}),
       none,
       kFirst,
       {4}},
      {"AskedWithoutAToken", ByteLevel(), {{"add_bos_token", true}}, none, nothing, {4}},
      {"AskedWithNull",
       ByteLevel(),
       {{"add_bos_token", true}, {"bos_token", nullptr}},
       none,
       nothing,
       {4}},
      {"Forbidden",
       ByteLevel(Template({"<first>"})),
       with({{"add_bos_token", false}, {"tokenizer_class", "LlamaTokenizerFast"}}),
       none,
       nothing,
       {4}},
      {"NullIsNotSaid",
       ByteLevel(Template({"<first>"})),
       with({{"add_bos_token", nullptr}}),
       none,
       kFirst,
       {4}},
      {"ClassThatBegins",
       ByteLevel(kOffsets),
       with({{"tokenizer_class", "LlamaTokenizerFast"}}),
       none,
       kFirst,
       {4}},
      {"ClassThatDoesNot",
       ByteLevel(kOffsets),
       with({{"tokenizer_class", "GPT2Tokenizer"}}),
       none,
       nothing,
       {4}},
      {"Pieces", pieces, nullptr, none, 1, {4}},
      {"PiecesOfAClass", pieces, {{"tokenizer_class", "LlamaTokenizer"}}, none, 1, {4}},
      {"PiecesForbidden", pieces, {{"add_bos_token", false}}, none, nothing, {4}},
      {"PiecesBesideATemplate", beside, nullptr, none, nothing, {4}},
      {"PiecesAndAnAddedToken",
       pieces,
       {{"added_tokens_decoder", {{"1024", {{"content", "<b>"}, {"special", true}}}}},
        {"bos_token", "<b>"}},
       none,
       1024,
       {4}},
      {"PiecesAsCharacters", ByteFallback(), nullptr, none, 1, {4}},
      {"PiecesAsCharactersOfTheBareLibrary",
       ByteFallback(),
       {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", "<s>"}},
       none,
       nothing,
       {4}},
      {"NoTokenizer", nullptr, nullptr, none, 3, {4}},
      {"NoTokenizerAndNull", nullptr, nullptr, unsaid, nothing, {}},
      {"NoTokenizerAndDefaults",
       nullptr,
       nullptr,
       {{"bos_token_id", "absent"}, {"eos_token_id", "absent"}},
       1,
       {2}},

      // What ends completions.
      {"EndsOfGeneration",
       ByteLevel(),
       named,
       none,
       nothing,
       {kTurn, 9},
       {{"eos_token_id", {kTurn, 9}}}},
      {"EndOfGeneration", nullptr, nullptr, unsaid, nothing, {9}, {{"eos_token_id", 9}}},
      {"GenerationIsSilent", ByteLevel(), named, none, nothing, {4}, {{"temperature", 0.5}}},
      {"GenerationIsNull", ByteLevel(), named, none, nothing, {4}, {{"eos_token_id", nullptr}}},
      {"ManyEnds",
       ByteLevel(),
       named,
       {{"eos_token_id", {9, 8, kEnd, 7, 9, 5}}},
       nothing,
       {kEnd, 5, 7, 8, 9}},
      {"EndOfTheTokenizer", ByteLevel(), named, unsaid, nothing, {kEnd}},
      {"EndOfTheTokenizerOverADefault",
       ByteLevel(),
       named,
       {{"eos_token_id", "absent"}},
       nothing,
       {kEnd}},
      {"EndOfAnEmptyList", ByteLevel(), named, {{"eos_token_id", json::array()}}, nothing, {kEnd}},
      {"NoEnd", ByteLevel(), nullptr, unsaid, nothing, {}},
      {"EndOfPieces", pieces, nullptr, unsaid, 1, {2}},
      {"EndBesideTheTemplates",
       ByteLevel(Template({"<first>"}, {"<turn>"})),
       named,
       unsaid,
       kFirst,
       {kEnd}},
  };
}

// A folder, and the file that is written from it.
struct Pair {
  Pair(const Case& c, TinyModelOptions options) {
    json tokenizer = c.tokenizer;
    const bool pieces = tokenizer.is_object() && tokenizer.erase(kPieces) > 0;
    options.vocab = pieces ? 1030 : kRows;
    TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
    json config = json::parse(checkpoint.config);
    config.update({{"bos_token_id", 3}, {"eos_token_id", 4}});
    for (const auto& [field, value] : c.config.items()) {
      if (value == "absent") {
        config.erase(field);
      } else {
        config[field] = value;
      }
    }
    checkpoint.config = config.dump();
    WriteCheckpoint(checkpoint, dir.path());
    const auto write = [&](const char* name, const json& document) {
      if (!document.empty()) WriteTestFile(dir.File(name), document.dump());
    };
    write("tokenizer.json", tokenizer);
    write("tokenizer_config.json", c.facts);
    write("generation_config.json", c.generation);
    if (pieces) {
      std::filesystem::copy_file(BITBUDGET_SOURCE_DIR "/tools/demo/models/novel-1m/tokenizer.model",
                                 dir.File("tokenizer.model"));
    }
    folder = Load(dir.path());
    if (folder == nullptr) return;
    const auto output = GgufOutput::Create(*folder, Stored(*folder), {});
    EXPECT_TRUE(output.ok()) << output.status();
    if (!output.ok()) return;
    const auto workspace = Workspace::Create(*folder, {}, kTokens);
    Progress progress;
    const absl::Status written =
        output->Write(dir.File("m.gguf"), (*workspace)->weight_encoder(), 1, &progress);
    EXPECT_TRUE(written.ok()) << written;
    file = Load(dir.File("m.gguf"));
  }

  TempDir dir;
  std::unique_ptr<Model> folder, file;
};

Ids Sorted(Ids ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

class FolderEqualsFile : public testing::TestWithParam<Case> {};

TEST_P(FolderEqualsFile, InWhatTextsBeginAndCompletionsEndWith) {
  const Case& c = GetParam();
  TinyModelOptions options;
  options.layers = 1;
  const Pair pair(c, options);
  ASSERT_NE(pair.file, nullptr);
  Ids ends = Sorted(pair.folder->config().eos_token_ids);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  EXPECT_EQ(ends, Sorted(c.ends));
  EXPECT_EQ(Sorted(pair.file->config().eos_token_ids), ends);
  EXPECT_EQ(pair.folder->config().bos_token_id, c.first);
  EXPECT_EQ(pair.file->config().bos_token_id, c.first);

  ASSERT_EQ(pair.folder->tokenizer() == nullptr, pair.file->tokenizer() == nullptr);
  if (pair.folder->tokenizer() == nullptr) return;
  for (const char* const text : {"", "then the other", "<first>th", "<mark>th", "<s>th", "th\n"}) {
    SCOPED_TRACE(text);
    const auto expected = EncodeText(*pair.folder->tokenizer(), pair.folder->config(), text);
    const auto got = EncodeText(*pair.file->tokenizer(), pair.file->config(), text);
    ASSERT_TRUE(expected.ok() && got.ok());
    EXPECT_EQ(*got, *expected);
    if (!c.first.has_value()) continue;
    ASSERT_FALSE(got->empty());
    EXPECT_EQ(got->front(), *c.first);
    EXPECT_EQ(std::count(got->begin(), got->end(), *c.first), 1);
  }

  std::string words;
  for (int i = 0; i < 200; ++i) words += "the other " + std::to_string(i * 7919 % 1000);
  WriteTestFile(pair.dir.File("text"), words);
  ProbeOptions probes;
  probes.source = ProbeSource::kText;
  probes.path = pair.dir.File("text");
  probes.prefix_tokens = 5;
  probes.completion_tokens = 4;
  std::vector<std::vector<Ids>> windows;
  for (const Model* const model : {pair.folder.get(), pair.file.get()}) {
    const auto maker = ProbeMaker::Create(*model, probes);
    ASSERT_TRUE(maker.ok()) << maker.status();
    windows.push_back((*maker)->TextWindows(ProbeRole::kHeldOut, 50));
  }
  EXPECT_EQ(windows[0], windows[1]);
  ASSERT_FALSE(windows[0].empty());
  for (const Ids& window : windows[0]) {
    EXPECT_EQ(window.size(), 9u);
    if (!c.first.has_value()) continue;
    EXPECT_EQ(window.front(), *c.first);
    EXPECT_EQ(std::count(window.begin(), window.end(), *c.first), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers,
                         FolderEqualsFile,
                         testing::ValuesIn(Cases()),
                         [](const auto& c) { return c.param.name; });

// Epsilon is one that f32, as the file has it, holds exactly: then all else is the same bits.
TEST(FolderEqualsFileOf, EveryArchitecture) {
  const Case c = {
      "", ByteLevel(Template({"<first>"})), nullptr, {{"rms_norm_eps", 0x1p-17}}, {}, {}};
  for (const Architecture architecture : AllArchitectures()) {
    SCOPED_TRACE(ArchitectureName(architecture));
    TinyModelOptions options = SmallModelOptions();
    options.dtype = kFormatF32;  // as norms are in the file
    options.architecture = architecture;
    options.layers = architecture == Architecture::kGemma3 ? 6 : 2;
    const Pair pair(c, options);
    ASSERT_NE(pair.file, nullptr);
    EXPECT_EQ(pair.file->config().bos_token_id, kFirst);
    EXPECT_EQ(pair.file->fixed_bytes(), pair.folder->fixed_bytes());
    EXPECT_EQ(Logits(*pair.file, Stored(*pair.file)), Logits(*pair.folder, Stored(*pair.folder)));

    // What the model writes itself.
    std::vector<std::vector<Ids>> prompts;
    for (const Model* const model : {pair.folder.get(), pair.file.get()}) {
      const auto workspace = Workspace::Create(*model, {}, kTokens);
      ASSERT_TRUE(workspace.ok()) << workspace.status();
      ProbeOptions own;
      own.prefix_tokens = 8;
      own.completion_tokens = 4;
      const auto maker = ProbeMaker::Create(*model, own);
      ASSERT_TRUE(maker.ok()) << maker.status();
      Progress progress;
      const auto made =
          (*maker)->Prompts(ProbeRole::kSearch, 3, (*workspace)->sampler(), &progress);
      ASSERT_TRUE(made.ok()) << made.status();
      prompts.push_back(*made);
    }
    EXPECT_EQ(prompts[0], prompts[1]);
  }
}

}  // namespace
}  // namespace bitbudget
