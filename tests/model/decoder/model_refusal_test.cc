// Every way in which a folder's files can disagree with each other: refused by Model::Load with one
// line that names the file, the tensor and the value. Damage inside one file is config_test's and
// safetensors_test's matter.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/model/decoder/model.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

void ExpectLoadFails(const TestCheckpoint& checkpoint,
                     absl::StatusCode code,
                     const std::vector<std::string>& parts,
                     int shards = 1) {
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path(), shards);
  for (const int threads : {1, 4}) {  // the same message for any number of threads
    ExpectError(Model::Load(dir.path(), threads).status(), code, parts);
  }
}

TEST(ModelRefusal, NamesWhatIsMissingFromTheFolder) {
  ExpectError(Model::Load("/nowhere/at-all", 1).status(),
              absl::StatusCode::kNotFound,
              {"/nowhere/at-all: no such model folder"});
  TempDir dir;
  ExpectError(Model::Load(dir.path(), 1).status(),
              absl::StatusCode::kNotFound,
              {dir.File("config.json"), "cannot open"});
  WriteTestFile(dir.File("config.json"), MakeTinyCheckpoint({}).config);
  ExpectError(Model::Load(dir.path(), 1).status(),
              absl::StatusCode::kNotFound,
              {dir.path(), "neither model.safetensors nor model.safetensors.index.json"});
  ExpectError(Model::Load(dir.File("config.json"), 1).status(),
              absl::StatusCode::kNotFound,
              {"no such model folder"});
}

TEST(ModelRefusal, PassesConfigErrorsOn) {
  TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  checkpoint.SetField("hidden_act", "\"relu\"");
  ExpectLoadFails(checkpoint,
                  absl::StatusCode::kUnimplemented,
                  {"/config.json: hidden_act: \"relu\" is not supported"});
}

// A checkpoint of every architecture, with all the biases that it may have.
std::vector<TestCheckpoint> EveryArchitecture() {
  std::vector<TestCheckpoint> all;
  for (const Architecture architecture : AllArchitectures()) {
    TinyModelOptions options;
    options.architecture = architecture;
    options.attention_bias = true;
    options.mlp_bias = true;
    all.push_back(MakeTinyCheckpoint(options));
  }
  return all;
}

TEST(ModelRefusal, EveryTensorIsMissed) {
  for (const TestCheckpoint& good : EveryArchitecture()) {
    for (const TestTensor& tensor : good.tensors) {
      TestCheckpoint checkpoint = good;
      checkpoint.Remove(tensor.name);
      ExpectLoadFails(
          checkpoint, kInvalid, {"/model.safetensors: tensor \"" + tensor.name + "\": is missing"});
    }
  }
  TestCheckpoint checkpoint = EveryArchitecture().front();
  checkpoint.Remove("model.norm.weight");
  ExpectLoadFails(checkpoint,
                  kInvalid,
                  {"/model.safetensors.index.json: tensor \"model.norm.weight\": is missing; "
                   "config.json asks for [32]"},
                  2);
}

TEST(ModelRefusal, EveryShapeIsChecked) {
  for (const TestCheckpoint& good : EveryArchitecture()) {
    for (size_t i = 0; i < good.tensors.size(); ++i) {
      TestCheckpoint checkpoint = good;
      TestTensor& tensor = checkpoint.tensors[i];
      tensor.shape.insert(tensor.shape.begin(), 1);  // the same values, one dimension more
      ExpectLoadFails(checkpoint,
                      kInvalid,
                      {"/model.safetensors: tensor \"" + tensor.name + "\": shape [1,",
                       "but config.json asks for ["});
    }
  }
  const TestCheckpoint good = EveryArchitecture().front();
  TestCheckpoint checkpoint = good;
  std::swap(checkpoint.Tensor("model.layers.0.mlp.up_proj.weight").shape[0],
            checkpoint.Tensor("model.layers.0.mlp.up_proj.weight").shape[1]);
  ExpectLoadFails(checkpoint, kInvalid, {"shape [32,48], but config.json asks for [48,32]"});
  checkpoint = good;  // the config is the one that is wrong
  checkpoint.SetField("vocab_size", "65");
  ExpectLoadFails(checkpoint, kInvalid, {"shape [64,32], but config.json asks for [65,32]"});
}

TEST(ModelRefusal, UnknownTensorsWouldChangeResults) {
  for (const char* name : {"model.layers.0.self_attn.q_proj.bias",
                           "model.layers.0.self_attn.q_norm.weight",
                           "model.layers.2.self_attn.q_proj.weight",
                           "model.embed_tokens.weight_scale",
                           "rotary_emb.inv_freq.weight",
                           "a\\nb"}) {
    TestCheckpoint checkpoint = MakeTinyCheckpoint({});
    checkpoint.tensors.push_back({name, "F32", {1}, TensorBytes({0}, kFormatF32)});
    ExpectLoadFails(checkpoint,
                    kInvalid,
                    {absl::StrCat("/model.safetensors: tensor \"",
                                  name,
                                  "\": shape [1] has no place in the LlamaForCausalLM")});
  }
}

TEST(ModelRefusal, OneArchitecturesTensorsAreNotAnothers) {
  struct Case {
    Architecture tensors;
    Architecture config;
    std::string what;
  };
  using A = Architecture;
  const Case cases[] = {
      // A Qwen 3 would run without its head norms, a Qwen 2 without its biases.
      {A::kQwen3, A::kLlama, "_norm.weight\": shape [8] has no place in the LlamaForCausalLM"},
      {A::kQwen2, A::kLlama, "_proj.bias\": shape ["},
      {A::kLlama, A::kQwen2, "self_attn.q_proj.bias\": is missing"},
      {A::kLlama, A::kPhi3, "self_attn.qkv_proj.weight\": is missing"},
      {A::kPhi3, A::kLlama, "self_attn.q_proj.weight\": is missing"},
      {A::kGemma3, A::kGemma2, "self_attn.k_norm.weight\": shape [8] has no place"},
      {A::kGemma2, A::kGemma3, "self_attn.q_norm.weight\": is missing"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    TinyModelOptions options;
    options.architecture = c.tensors;
    TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
    options.architecture = c.config;
    checkpoint.config = MakeTinyCheckpoint(options).config;
    ExpectLoadFails(checkpoint, kInvalid, {c.what});
  }
}

TEST(ModelRefusal, AHeadBesideATiedEmbeddingMustBeTheEmbedding) {
  TinyModelOptions options;
  options.tied = true;
  const TestCheckpoint tied = MakeTinyCheckpoint(options);
  TestCheckpoint checkpoint = tied;
  TestTensor head = checkpoint.Tensor("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  const size_t row_bytes = 32 * sizeof(float);
  head.bytes[5 * row_bytes + 3] ^= 1;
  checkpoint.tensors.push_back(head);
  ExpectLoadFails(checkpoint,
                  kInvalid,
                  {"tensor \"lm_head.weight\": differs from the embedding in row 5, but "
                   "config.json has tie_word_embeddings true"});

  checkpoint.tensors.back() = {"lm_head.weight", "BF16", {64, 32}, std::string(64 * 32 * 2, '\0')};
  ExpectLoadFails(checkpoint, kInvalid, {"differs from the embedding in format bf16"});
  checkpoint.tensors.back() = {"lm_head.weight", "F32", {1, 32}, std::string(128, '\0')};
  ExpectLoadFails(checkpoint, kInvalid, {"differs from the embedding in shape [1,32]"});
}

TEST(ModelRefusal, NanAndInfAreFoundWhereverTheyStand) {
  for (const Format dtype : {kFormatF32, kFormatF16, kFormatBF16}) {
    TinyModelOptions options;
    options.dtype = dtype;
    options.attention_bias = true;
    const TestCheckpoint good = MakeTinyCheckpoint(options);
    const auto poison = [&](const std::string& name, int64_t index, float value) {
      TestCheckpoint checkpoint = good;
      const std::string bytes = TensorBytes({value}, dtype);
      checkpoint.Tensor(name).bytes.replace(index * bytes.size(), bytes.size(), bytes);
      return checkpoint;
    };
    const std::string down = "model.layers.1.mlp.down_proj.weight";  // [32, 48]
    ExpectLoadFails(poison(down, 48 * 3 + 7, std::nanf("")),
                    kInvalid,
                    {"/model.safetensors: tensor \"" + down + "\": [3, 7] is NaN"});
    ExpectLoadFails(
        poison(down, 48 * 32 - 1, INFINITY), kInvalid, {"\"" + down + "\": [31, 47] is +Inf"});
    ExpectLoadFails(poison("model.embed_tokens.weight", 0, -INFINITY),
                    kInvalid,
                    {"\"model.embed_tokens.weight\": [0, 0] is -Inf"});
    ExpectLoadFails(poison("model.norm.weight", 31, INFINITY),
                    kInvalid,
                    {"\"model.norm.weight\": [0, 31] is +Inf"});
    ExpectLoadFails(poison("model.layers.0.self_attn.v_proj.bias", 2, std::nanf("")),
                    kInvalid,
                    {"v_proj.bias\": [0, 2] is NaN"});
    ExpectLoadFails(poison("lm_head.weight", 33, std::nanf("")),
                    kInvalid,
                    {"\"lm_head.weight\": [1, 1] is NaN"},
                    2);
  }
}

TEST(ModelRefusal, TheLargestFiniteValuesAreFine) {
  for (const Format dtype : {kFormatF32, kFormatF16, kFormatBF16}) {
    TinyModelOptions options;
    options.dtype = dtype;
    TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
    const float largest = dtype == kFormatF32   ? std::numeric_limits<float>::max()
                          : dtype == kFormatF16 ? 65504.0f
                                                : 0x1.fep127f;
    const std::string bytes = TensorBytes({largest, -largest}, dtype);
    checkpoint.Tensor("lm_head.weight").bytes.replace(0, bytes.size(), bytes);
    TempDir dir;
    WriteCheckpoint(checkpoint, dir.path());
    EXPECT_TRUE(Model::Load(dir.path(), 2).ok()) << dtype.Name();
  }
}

TEST(ModelRefusal, ATensorOfManyPiecesReportsItsFirstBadValue) {
  TinyModelOptions options;
  options.layers = 1;
  options.vocab = 5000;
  options.hidden = 512;  // 10 MB: more than one piece of the parallel scan
  options.ffn = 8;
  TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  std::string& bytes = checkpoint.Tensor("lm_head.weight").bytes;
  const std::string nan = TensorBytes({std::nanf("")}, kFormatF32);
  for (const int64_t row : {4999, 4321, 2500}) bytes.replace((row * 512 + 17) * 4, 4, nan);
  ExpectLoadFails(checkpoint, kInvalid, {"\"lm_head.weight\": [2500, 17] is NaN"});
}

TEST(ModelRefusal, ADamagedTokenizerIsNotIgnored) {
  TempDir dir;
  WriteCheckpoint(MakeTinyCheckpoint({}), dir.path());
  WriteTestFile(dir.File("tokenizer.model"), "not a model");
  ExpectError(Model::Load(dir.path(), 1).status(),
              kInvalid,
              {dir.File("tokenizer.model"), "not a SentencePiece model (11 bytes)"});
  std::filesystem::remove(dir.File("tokenizer.model"));
  std::filesystem::create_symlink("gone", dir.File("tokenizer.model"));
  ExpectError(Model::Load(dir.path(), 1).status(),
              absl::StatusCode::kNotFound,
              {dir.File("tokenizer.model"), "cannot open"});
}

TEST(ModelRefusal, ATokenizerWithMorePiecesThanTheModelHasRows) {
  const std::string real =
      absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/novel-1m/tokenizer.model");
  for (const int64_t vocab : {1023, 1024, 1100}) {
    TinyModelOptions options;
    options.vocab = vocab;
    TempDir dir;
    WriteCheckpoint(MakeTinyCheckpoint(options), dir.path());
    std::filesystem::copy_file(real, dir.File("tokenizer.model"));
    const absl::Status status = Model::Load(dir.path(), 1).status();
    if (vocab >= 1024) {
      EXPECT_TRUE(status.ok()) << status;
    } else {
      ExpectError(status,
                  kInvalid,
                  {dir.path(),
                   ": the tokenizer's 1024 pieces are more than vocab_size 1023 of ",
                   dir.File("config.json")});
    }
  }
}

}  // namespace
}  // namespace bitbudget
