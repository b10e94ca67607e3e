#ifndef BITBUDGET_TESTS_MODEL_CHECKPOINT_GGUF_BYTES_H_
#define BITBUDGET_TESTS_MODEL_CHECKPOINT_GGUF_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bitbudget {

inline constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9,
                          kU64 = 10;
// Writes GGUF by itself, right or wrong, and remembers where the numbers stand that lead a reader.
class GgufBytes {
 public:
  struct Number {
    size_t at;
    size_t size;  // 4 or 8
    std::string what;
  };

  template <typename T>
  GgufBytes& Put(T value, const std::string& what = "") {
    if (!what.empty()) numbers_.push_back({bytes_.size(), sizeof(value), what});
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  GgufBytes& Text(const std::string& text, const std::string& what) {
    Put<uint64_t>(text.size(), what + " length");
    bytes_ += text;
    return *this;
  }
  GgufBytes& Key(const std::string& key, uint32_t type) {
    return Text(key, "key " + key).Put(type, "type of " + key);
  }
  template <typename T>
  GgufBytes& Scalar(const std::string& key, uint32_t type, T value) {
    return Key(key, type).Put(value, sizeof(value) >= 4 ? "value of " + key : "");
  }
  GgufBytes& String(const std::string& key, const std::string& value) {
    return Key(key, kString).Text(value, "value of " + key);
  }
  GgufBytes& ArrayOf(const std::string& key, uint32_t element, uint64_t count) {
    return Key(key, kArray).Put(element, "element of " + key).Put(count, "count of " + key);
  }
  GgufBytes& Texts(const std::string& key, const std::vector<std::string>& values) {
    ArrayOf(key, kString, values.size());
    for (const std::string& value : values) Text(value, "item of " + key);
    return *this;
  }
  template <typename T>
  GgufBytes& Items(const std::string& key, uint32_t element, const std::vector<T>& values) {
    ArrayOf(key, element, values.size());
    for (const T value : values) Put(value, "item of " + key);
    return *this;
  }
  GgufBytes& Pad() {
    bytes_.resize((bytes_.size() + 31) / 32 * 32);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }
  const std::vector<Number>& numbers() const { return numbers_; }

 private:
  std::string bytes_;
  std::vector<Number> numbers_;
};

// What a file holds; a test changes a part and looks at the message.
struct GgufContents {
  std::string model = "gpt2", pre = "gpt-2";
  std::vector<std::string> tokens = {"a", "b", "ab", "\xc4\xa0", "<|end|>"};
  std::vector<int32_t> types = {1, 1, 1, 1, 3};
  std::vector<std::string> merges = {"a b"};
  std::vector<float> scores = {0, 0, 0, 0, 0};
  uint32_t bos = 4;
  uint32_t alignment = 32;
  std::string second_tensor = "output_norm.weight";
  uint64_t second_offset = 160;
};

inline GgufBytes BuildGguf(const GgufContents& c) {
  GgufBytes b;
  b.Put<uint32_t>(0x46554747, "magic").Put<uint32_t>(3, "version");
  b.Put<uint64_t>(2, "tensor count").Put<uint64_t>(18, "metadata count");
  b.String("general.architecture", "llama").Scalar("general.alignment", kU32, c.alignment);
  b.Scalar<uint32_t>("llama.context_length", kU32, 64);
  b.Scalar<uint32_t>("llama.embedding_length", kU32, 8);
  b.Scalar<uint32_t>("llama.block_count", kU32, 1);
  b.Scalar<uint32_t>("llama.feed_forward_length", kU32, 16);
  b.Scalar<uint32_t>("llama.attention.head_count", kU32, 2);
  b.Scalar<float>("llama.attention.layer_norm_rms_epsilon", kF32, 1e-5f);
  b.Scalar<uint64_t>("llama.rope.dimension_count", kU64, 4);
  b.String("tokenizer.ggml.model", c.model).String("tokenizer.ggml.pre", c.pre);
  b.Texts("tokenizer.ggml.tokens", c.tokens);
  b.Items("tokenizer.ggml.token_type", kI32, c.types);
  b.Texts("tokenizer.ggml.merges", c.merges);
  b.Items("tokenizer.ggml.scores", kF32, c.scores);
  b.Scalar("tokenizer.ggml.bos_token_id", kU32, c.bos);
  b.Scalar<uint8_t>("tokenizer.ggml.add_bos_token", kBool, 1);
  b.String("tokenizer.chat_template", "{{ messages }}");
  b.Text("token_embd.weight", "tensor name").Put<uint32_t>(2, "dimensions");
  b.Put<uint64_t>(8, "columns").Put<uint64_t>(5, "rows").Put<uint32_t>(0, "tensor type");
  b.Put<uint64_t>(0, "first offset");
  b.Text(c.second_tensor, "tensor name").Put<uint32_t>(1, "dimensions");
  b.Put<uint64_t>(8, "columns").Put<uint32_t>(0, "tensor type");
  b.Put<uint64_t>(c.second_offset, "second offset");
  b.Pad();
  for (int i = 0; i < 24; ++i) b.Put<uint64_t>(0);
  return b;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_MODEL_CHECKPOINT_GGUF_BYTES_H_
