// Every field of a GGUF file damaged in turn: each damage gives one clear line, or a file that is
// read exactly as its bytes now say, never a crash, and never more memory than a small file needs.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/checkpoint/ggml_types.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tests/model/checkpoint/gguf_bytes.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

const auto kInvalid = absl::StatusCode::kInvalidArgument;
const auto kUnimplemented = absl::StatusCode::kUnimplemented;

// The header, metadata and tensor list that would be read as `file`: the parser's inverse.
std::string Rewritten(const GgufFile& file, uint32_t version) {
  GgufBytes b;
  b.Put<uint32_t>(0x46554747).Put(version);
  b.Put<uint64_t>(file.tensors.size()).Put<uint64_t>(file.entries.size());
  const auto raw = [&](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) b.Put(byte);
  };
  for (const GgufEntry& entry : file.entries) {
    b.Key(entry.key, static_cast<uint32_t>(entry.value.type));
    if (entry.value.type == GgufType::kArray) {
      b.Put(static_cast<uint32_t>(entry.value.element)).Put(entry.value.count);
    } else if (entry.value.type == GgufType::kString) {
      b.Put<uint64_t>(entry.value.bytes.size());
    }
    raw(entry.value.bytes);
  }
  for (const GgufTensor& tensor : file.tensors) {
    b.Text(tensor.name, "").Put(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t d = tensor.shape.size(); d-- > 0;) b.Put(tensor.shape[d]);
    b.Put(*GgmlTypeOf(tensor.format));
    b.Put<uint64_t>(tensor.data.data() - file.tensors.front().data.data());
  }
  return b.bytes();
}

// What was read is what the bytes say, to the last one that is not padding.
void ExpectFaithful(const GgufFile& file, std::span<const std::byte> bytes) {
  uint32_t version = 0;
  std::memcpy(&version, bytes.data() + 4, sizeof(version));
  const std::string head = Rewritten(file, version);
  ASSERT_LE(head.size(), bytes.size());
  EXPECT_EQ(std::memcmp(head.data(), bytes.data(), head.size()), 0);
  const GgufValue* alignment = file.Find("general.alignment");
  const auto step = static_cast<size_t>(alignment == nullptr ? 32 : *alignment->Integer());
  size_t at = head.size();
  for (const GgufTensor& tensor : file.tensors) {
    at = (at + step - 1) / step * step;
    EXPECT_EQ(tensor.data.data(), bytes.data() + at) << tensor.name;
    at += tensor.data.size();
  }
  EXPECT_LE(at, bytes.size());
}

// The configuration is what the metadata says, or the default where a key is absent.
void ExpectFaithful(const ModelConfig& config, const GgufFile& file) {
  // Read from the bytes, not by the functions that are being tested. Only unsigned numbers of up to
  // 63 bits make a configuration.
  const auto integer = [&](const std::string& key, int64_t absent) {
    const GgufValue* value = file.Find(key);
    if (value == nullptr) return absent;
    int64_t number = 0;
    std::memcpy(&number, value->bytes.data(), std::min(value->bytes.size(), sizeof(number)));
    return number;
  };
  EXPECT_EQ(config.max_position_embeddings, integer("llama.context_length", -2));
  EXPECT_EQ(config.hidden_size, integer("llama.embedding_length", -2));
  EXPECT_EQ(config.num_hidden_layers, integer("llama.block_count", -2));
  EXPECT_EQ(config.intermediate_size, integer("llama.feed_forward_length", -2));
  EXPECT_EQ(config.num_attention_heads, integer("llama.attention.head_count", -2));
  EXPECT_EQ(config.rotary_dim, integer("llama.rope.dimension_count", config.head_dim));
  EXPECT_EQ(config.rms_norm_eps, file.Find("llama.attention.layer_norm_rms_epsilon")->Number());
  const auto embedding =
      std::find_if(file.tensors.begin(), file.tensors.end(), [](const GgufTensor& tensor) {
        return tensor.name == "token_embd.weight";
      });
  ASSERT_NE(embedding, file.tensors.end());
  EXPECT_EQ(config.vocab_size, embedding->shape.front());
  const int64_t bos = integer("tokenizer.ggml.bos_token_id", -1);
  EXPECT_EQ(config.bos_token_id.value_or(-1), bos < config.vocab_size ? bos : -1);
}

// And so is the tokenizer.
void ExpectFaithful(const TokenizerData& data, const GgufFile& file) {
  std::vector<absl::string_view> texts;
  for (const VocabularyToken& token : data.tokens) texts.push_back(token.text);
  EXPECT_EQ(texts, file.Find("tokenizer.ggml.tokens")->Texts());
  if (const GgufValue* types = file.Find("tokenizer.ggml.token_type"); types != nullptr) {
    std::vector<int64_t> read;
    for (const VocabularyToken& token : data.tokens) read.push_back(static_cast<int>(token.type));
    EXPECT_EQ(read, types->Integers());
  }
  if (data.kind == TokenizerKind::kScoreBpe && file.Find("tokenizer.ggml.scores") != nullptr) {
    std::vector<double> read;
    for (const VocabularyToken& token : data.tokens) read.push_back(token.score);
    EXPECT_EQ(read, file.Find("tokenizer.ggml.scores")->Numbers());
  }
  if (data.kind == TokenizerKind::kByteLevelBpe) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : data.merges) {
      merges.push_back(absl::StrCat(data.tokens[left].text, " ", data.tokens[right].text));
    }
    const auto texts = file.Find("tokenizer.ggml.merges")->Texts();
    EXPECT_TRUE(std::equal(merges.begin(), merges.end(), texts->begin(), texts->end()));
  }
}

// Does all that is done with a file when it is opened; the first error. Whatever is read, however
// damaged, must be what the bytes say.
absl::Status Read(const std::string& bytes) {
  // Of exactly its size, so that AddressSanitizer sees reads beyond it.
  const std::vector<char> exact(bytes.begin(), bytes.end());
  const auto file = ParseGguf(std::as_bytes(std::span(exact)), "m.gguf");
  if (!file.ok()) return file.status();
  ExpectFaithful(*file, std::as_bytes(std::span(exact)));
  auto data = TokenizerDataFromGguf(*file);
  absl::Status status = data.status();
  if (data.ok() && data->has_value()) {
    ExpectFaithful(**data, *file);
    const auto tokenizer = MakeTokenizer(**std::move(data));
    status = tokenizer.status();
    if (tokenizer.ok()) {
      const auto ids = (*tokenizer)->Encode("ab <|end|>ba", {.parse_special = true});
      if (ids.ok()) (*tokenizer)->Decode(*ids);
      status = ids.status();
    }
  }
  const auto config = ConfigFromGguf(*file);
  if (config.ok()) ExpectFaithful(*config, *file);
  return status.ok() ? config.status() : status;
}

// Reads a damaged file: it is refused in one line that names it, or read as it is. Whether it was
// refused.
bool Refused(const std::string& bytes, const std::string& damage) {
  SCOPED_TRACE(damage);
  const absl::Status status = Read(bytes);
  if (!status.ok()) ExpectError(status, status.code(), {"m.gguf: "});
  return !status.ok();
}

void ExpectRefused(const GgufContents& contents,
                   absl::StatusCode code,
                   const std::vector<std::string>& parts) {
  ExpectError(Read(BuildGguf(contents).bytes()), code, parts);
}

TEST(GgufDamage, TheFileIsRightBeforeItIsDamaged) {
  const absl::Status status = Read(BuildGguf({}).bytes());
  EXPECT_TRUE(status.ok()) << status;
  GgufContents llama;
  llama.model = "llama";
  const absl::Status llama_status = Read(BuildGguf(llama).bytes());
  EXPECT_TRUE(llama_status.ok()) << llama_status;
}

TEST(GgufDamage, AFileThatEndsEarlyIsRefused) {
  const std::string bytes = BuildGguf({}).bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(Refused(bytes.substr(0, size), absl::StrCat("the first ", size, " bytes")));
  }
}

TEST(GgufDamage, AnyNumberInAnyPlaceIsReadAsItIsOrRefusedInLittleMemory) {
  rusage before;
  ASSERT_EQ(getrusage(RUSAGE_SELF, &before), 0);
  const uint64_t kValues[] = {0,
                              1,
                              2,
                              255,
                              uint64_t{1} << 24,
                              (uint64_t{1} << 31) - 1,
                              uint64_t{1} << 31,
                              0x7fc00000,  // a NaN
                              0xffffffff,
                              uint64_t{1} << 32,
                              uint64_t{1} << 61,
                              (uint64_t{1} << 63) - 1,
                              uint64_t{1} << 63,
                              UINT64_MAX - 31,
                              UINT64_MAX};
  for (const char* const model : {"gpt2", "llama"}) {
    GgufContents contents;
    contents.model = model;
    const GgufBytes good = BuildGguf(contents);
    EXPECT_GT(good.numbers().size(), 80u);
    for (const GgufBytes::Number& number : good.numbers()) {
      for (const uint64_t value : kValues) {
        std::string bytes = good.bytes();
        std::memcpy(bytes.data() + number.at, &value, number.size);
        const bool refused = Refused(bytes, absl::StrCat(model, ": ", number.what, " is ", value));
        // Lengths and counts that no file can have.
        const bool leads = absl::EndsWith(number.what, " length") ||
                           absl::EndsWith(number.what, "count") ||
                           absl::StartsWith(number.what, "count of");
        if (leads && value >= uint64_t{1} << 24 && number.size == 8) {
          EXPECT_TRUE(refused) << number.what << " is " << value;
        }
      }
    }
  }
  rusage after;
  ASSERT_EQ(getrusage(RUSAGE_SELF, &after), 0);
  // Thousands of reads of a file of 2 KB, allocators and sanitizers included. One count that is
  // believed takes gigabytes.
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 600 * 1024);  // KiB
}

TEST(GgufDamage, AnyByteIsReadAsItIsOrRefused) {
  for (const char* const model : {"gpt2", "llama"}) {
    GgufContents contents;
    contents.model = model;
    const std::string good = BuildGguf(contents).bytes();
    for (size_t at = 0; at < good.size(); ++at) {
      for (const unsigned char flip : {0x01, 0x80, 0xff}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        Refused(bytes, absl::StrCat(model, ": byte ", at, " xor ", flip));
      }
    }
  }
}

TEST(GgufDamage, TheContainersMessagesNameWhatIsWrong) {
  GgufContents c;
  c.alignment = 0;
  ExpectRefused(c, kInvalid, {"m.gguf", "general.alignment", "0"});
  c.alignment = 3;
  ExpectRefused(c, kInvalid, {"m.gguf", "general.alignment", "3"});
  c.alignment = 1u << 31;
  ExpectRefused(c, kInvalid, {"m.gguf"});
  c = {};
  c.second_tensor = "token_embd.weight";
  ExpectRefused(c, kInvalid, {"m.gguf", "token_embd.weight", "duplicate"});
  c = {};
  c.second_offset = 161;
  ExpectRefused(c, kInvalid, {"m.gguf", "output_norm.weight", "161"});
}

TEST(GgufDamage, TheTokenizersMessagesNameKeyAndItem) {
  const std::string key = "tokenizer.ggml.";
  GgufContents c;
  c.model = "bert";
  ExpectRefused(c, kUnimplemented, {"m.gguf", key + "model", "\"bert\""});
  c = {};
  c.pre = "no-such-pre";
  ExpectRefused(c, kUnimplemented, {"m.gguf", key + "pre", "\"no-such-pre\""});
  c = {};
  c.tokens[1] = "a";
  ExpectRefused(c, kInvalid, {key + "tokens[1]", "\"a\"", "token 0"});
  c = {};
  c.tokens.clear();
  ExpectRefused(c, kInvalid, {key + "tokens"});
  c = {};
  c.types.pop_back();
  ExpectRefused(c, kInvalid, {key + "token_type", "5 tokens"});
  c = {};
  c.types[2] = 7;
  ExpectRefused(c, kInvalid, {key + "token_type[2]", "7"});
  c = {};
  c.merges = {"a b", "a x"};
  ExpectRefused(c, kInvalid, {key + "merges[1]", "\"a x\"", "\"x\""});
  c.merges = {"ab"};
  ExpectRefused(c, kInvalid, {key + "merges[0]", "\"ab\""});
  c.merges = {"b a"};
  ExpectRefused(c, kInvalid, {"m.gguf", "merge 0", "\"ba\"", "no token"});
  c = {};
  c.bos = 5;
  ExpectRefused(c, kInvalid, {key + "bos_token_id", "5"});
  c = {};
  c.model = "llama";
  c.scores[3] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(c, kInvalid, {key + "scores[3]", "nan"});
  c.scores[3] = std::numeric_limits<float>::infinity();
  ExpectRefused(c, kInvalid, {key + "scores[3]", "inf"});
  c.scores = {0, 0};
  ExpectRefused(c, kInvalid, {key + "scores", "5 tokens"});
}

TEST(GgufDamage, KeysOfTheWrongTypeAreNamed) {
  const std::string good = BuildGguf({}).bytes();
  for (const std::string key : {"tokenizer.ggml.model",
                                "tokenizer.ggml.pre",
                                "tokenizer.ggml.tokens",
                                "tokenizer.ggml.token_type",
                                "tokenizer.ggml.merges",
                                "tokenizer.ggml.bos_token_id",
                                "tokenizer.ggml.add_bos_token",
                                "tokenizer.chat_template"}) {
    // The entry as it stands goes under another name; a float takes its place.
    std::string bytes = good;
    bytes[bytes.find(key) + key.size() - 1] = '?';
    GgufBytes wrong;
    wrong.Scalar<float>(key, kF32, 1.5f);
    bytes.insert(24, wrong.bytes());
    const uint64_t count = 19;
    std::memcpy(bytes.data() + 16, &count, sizeof(count));
    // The tensors move with the metadata: up to the next multiple of 32.
    bytes.insert(bytes.size(), 64, '\0');
    ExpectError(Read(bytes), kInvalid, {"m.gguf: " + key, "1.5"});
  }
}

}  // namespace
}  // namespace bitbudget
