#include "tools/bench/generated_model.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// A new folder that is removed with what is in it.
class ScratchFolder {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Create(const std::string& directory) {
    std::string path = absl::StrCat(directory, "/bitbudget-bench-XXXXXX");
    if (mkdtemp(path.data()) == nullptr) {
      return absl::UnavailableError(
          absl::StrCat(path, ": cannot make this folder: ", std::strerror(errno)));
    }
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(path));
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

struct Tensor {
  std::string name;
  int64_t rows = 0;  // 0: a vector
  int64_t cols = 0;
  bool ones = false;
  int64_t size() const { return (rows == 0 ? 1 : rows) * cols; }
};

std::vector<Tensor> ListTensors(const ModelConfig& config) {
  std::vector<Tensor> tensors;
  for (const Component& component : ListComponents(config)) {
    tensors.push_back({component.name + ".weight", component.rows, component.cols});
  }
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      tensors.push_back({absl::StrCat("model.layers.", layer, ".", norm, ".weight"),
                         0,
                         config.hidden_size,
                         /*ones=*/true});
    }
  }
  tensors.push_back({"model.norm.weight", 0, config.hidden_size, /*ones=*/true});
  return tensors;
}

absl::Status WriteTensors(const std::vector<Tensor>& tensors, const std::string& path) {
  nlohmann::ordered_json header;
  int64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    const int64_t end = offset + 2 * tensor.size();
    nlohmann::ordered_json shape = nlohmann::ordered_json::array();
    if (tensor.rows > 0) shape.push_back(tensor.rows);
    shape.push_back(tensor.cols);
    header[tensor.name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  const std::string text = header.dump();
  std::ofstream file(path, std::ios::binary);
  const uint64_t length = text.size();
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  Random random(/*seed=*/0);
  std::vector<uint16_t> values;
  for (const Tensor& tensor : tensors) {
    values.resize(static_cast<size_t>(tensor.size()));
    for (uint16_t& value : values) {
      value =
          FloatToBFloat16(tensor.ones ? 1.0f : static_cast<float>(0.06 * random.Uniform() - 0.03));
    }
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(2 * values.size()));
  }
  file.close();
  if (!file) {
    return absl::UnavailableError(
        absl::StrCat(path, ": could not write ", offset, " bytes: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> GenerateModel(const std::string& directory,
                                                     int layers,
                                                     int threads) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> folder,
                      ScratchFolder::Create(directory));
  const nlohmann::json json = {{"architectures", {"LlamaForCausalLM"}},
                               {"model_type", "llama"},
                               {"hidden_act", "silu"},
                               {"hidden_size", 2048},
                               {"intermediate_size", 5632},
                               {"num_hidden_layers", layers},
                               {"num_attention_heads", 32},
                               {"num_key_value_heads", 4},
                               {"vocab_size", 32000},
                               {"max_position_embeddings", 4096},
                               {"rms_norm_eps", 1e-5},
                               {"rope_theta", 10000.0},
                               {"tie_word_embeddings", false}};
  const std::string config_path = folder->path() + "/config.json";
  std::ofstream file(config_path);
  file << json.dump();
  file.close();
  if (!file) {
    return absl::UnavailableError(
        absl::StrCat(config_path, ": could not write: ", std::strerror(errno)));
  }
  BB_ASSIGN_OR_RETURN(const ModelConfig config, ParseConfig(json.dump(), config_path));
  BB_RETURN_IF_ERROR(WriteTensors(ListTensors(config), folder->path() + "/model.safetensors"));
  return Model::Load(folder->path(), threads);
}

}  // namespace bitbudget
