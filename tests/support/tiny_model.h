#ifndef BITBUDGET_TESTS_SUPPORT_TINY_MODEL_H_
#define BITBUDGET_TESTS_SUPPORT_TINY_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/tensor/tensor_view.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {

// Every family, in the order of families.cc.
std::vector<Architecture> AllArchitectures();

// A small random checkpoint. Matrices are close to normal with standard deviation
// weight_scale / sqrt(inputs) (an embedding that is not the head too: weight_scale), norms are near
// 1 (Gemma's stored weights near 0) and biases near 0, so that activations and logits stay of order
// one.
struct TinyModelOptions {
  Architecture architecture = Architecture::kLlama;
  int64_t layers = 2;
  int64_t hidden = 32;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  std::optional<int64_t> head_dim;  // written to config.json when set
  int64_t ffn = 48;
  int64_t vocab = 64;
  int64_t max_positions = 128;
  double rope_theta = 10000.0;
  std::string rope_scaling;  // JSON text; empty: null
  // Unset: no window, but Gemma's sliding layers have one of 11 positions. Half of Qwen's layers
  // slide when it is set; every sixth layer of Gemma 3 (or the last one of fewer) never slides.
  std::optional<int64_t> sliding_window;
  bool tied = false;            // Gemma is tied in any case
  bool attention_bias = false;  // Llama, Mistral, Qwen 3; Qwen 2 has biases in any case
  bool mlp_bias = false;        // Llama, Mistral
  std::string fields;           // JSON object: more fields of config.json, or other values
  Format dtype = kFormatF32;
  int shards = 1;
  double weight_scale = 1.0;
  uint64_t seed = 1;
};

// The checkpoint before it is written, for tests to change (or break).
struct TestCheckpoint {
  std::string config;  // config.json
  std::vector<TestTensor> tensors;

  // Gives a field of config.json another value, as JSON.
  void SetField(const std::string& name, const std::string& value);
  TestTensor& Tensor(const std::string& name);  // ends the test program if there is none
  void Remove(const std::string& name);
};

TestCheckpoint MakeTinyCheckpoint(const TinyModelOptions& options);

// Writes config.json and model.safetensors, or with more than one shard the shards (tensors dealt
// in turn) and model.safetensors.index.json.
void WriteCheckpoint(const TestCheckpoint& checkpoint, const std::string& folder, int shards = 1);

// A checkpoint on disk for the length of a scope.
class TinyModel {
 public:
  explicit TinyModel(const TinyModelOptions& options = {});
  const std::string& path() const { return dir_.path(); }

 private:
  TempDir dir_;
};

// `values` as a tensor's bytes in `dtype`.
std::string TensorBytes(const std::vector<float>& values, Format dtype);

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_TINY_MODEL_H_
