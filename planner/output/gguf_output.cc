#include "planner/output/gguf_output.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/architecture/gguf_names.h"
#include "runtime/model/checkpoint/ggml_types.h"
#include "runtime/model/checkpoint/gguf_files.h"
#include "runtime/model/tokenizer/gguf_ends.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"

namespace bitbudget {
namespace {

// llama.cpp's GGML_QNT_VERSION: the version of all block layouts.
constexpr uint32_t kQuantizationVersion = 2;

// `general.file_type` (llama_ftype) of files that are mostly in one format. Informative only.
uint32_t FileType(const Format& format) {
  constexpr std::pair<const char*, uint32_t> kTypes[] = {
      {"f32", 0},      {"f16", 1},    {"bf16", 32},  {"q4_0", 2},     {"q4_1", 3},
      {"q8_0", 7},     {"q5_0", 8},   {"q5_1", 9},   {"q2_k", 10},    {"q3_k", 12},
      {"q4_k", 15},    {"q5_k", 17},  {"q6_k", 18},  {"iq4_nl", 25},  {"iq4_xs", 30},
      {"tq1_0", 36},   {"tq2_0", 37}, {"mxfp4", 38}, {"iq2_xxs", 19}, {"iq2_xs", 20},
      {"iq3_xxs", 23}, {"iq1_s", 24}, {"iq3_s", 26}, {"iq2_s", 28},   {"iq1_m", 31}};
  for (const auto& [name, number] : kTypes) {
    if (format.Name() == name) return number;
  }
  return 1024;  // llama.cpp's "guessed"
}

// The embedding, the layers in order and by name within a layer, then everything else by name.
std::tuple<int64_t, std::string> OrderOf(const std::string& name) {
  int64_t layer = -1;
  if (absl::StartsWith(name, "blk.")) {
    const size_t dot = name.find('.', 4);
    if (absl::SimpleAtoi(absl::string_view(name).substr(4, dot - 4), &layer)) return {layer, name};
  }
  return {name == "token_embd.weight" ? -1 : INT64_MAX, name};
}

// Where a file for llama.cpp holds row `row` of a matrix of heads with `head_dim` rows each: it
// interleaves the two halves of a head, which rotate together.
int64_t InterleavedRow(int64_t row, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  const int64_t in_head = row % head_dim;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

bool IsInterleaved(const Component& component, const ModelConfig& config) {
  return FamilyOf(config.architecture).gguf.interleaved_qk &&
         (component.kind == ComponentKind::kQ || component.kind == ComponentKind::kK);
}

}  // namespace

absl::StatusOr<GgufOutput> GgufOutput::Create(const Model& model,
                                              const Assignment& assignment,
                                              const Provenance& provenance,
                                              const VectorsByLayer& vectors) {
  GgufOutput output(model, assignment);
  BB_RETURN_IF_ERROR(output.AddMetadata(provenance));
  BB_RETURN_IF_ERROR(output.AddVectors(vectors));
  BB_RETURN_IF_ERROR(output.AddTensors());
  return output;
}

absl::Status GgufOutput::AddMetadata(const Provenance& provenance) {
  // The format of most of the weights.
  std::map<Format, int64_t> weights;
  for (size_t c = 0; c < assignment_.size(); ++c) {
    const Component& component = model_->component(static_cast<ComponentId>(c));
    weights[assignment_[c]] += component.rows * component.cols;
  }
  const auto most =
      std::max_element(weights.begin(), weights.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      });

  if (const bool gguf = absl::EndsWith(model_->path(), ".gguf"); gguf) {
    BB_ASSIGN_OR_RETURN(const GgufFiles source, OpenGgufFiles(model_->path()));
    for (const GgufEntry& entry : source.parsed.front().entries) {
      // These describe the file, not the model.
      if (entry.key == "general.file_type" || entry.key == "general.quantization_version" ||
          entry.key == "general.alignment" || absl::StartsWith(entry.key, "split.") ||
          absl::StartsWith(entry.key, "quantize.")) {
        continue;
      }
      writer_.AddValue(entry.key, entry.value);
    }
  } else {
    BB_RETURN_IF_ERROR(AddGgufConfig(model_->config(), model_->config_path(), &writer_));
    std::string name = model_->path();
    while (absl::EndsWith(name, "/")) name.pop_back();
    writer_.AddText("general.name", name.substr(name.rfind('/') + 1));
    const ModelConfig& config = model_->config();
    if (model_->tokenizer() != nullptr) {
      BB_RETURN_IF_ERROR(AddTokenizer(
          model_->tokenizer()->data(), config.vocab_size, config.eos_token_ids, &writer_));
    } else {
      writer_.AddText("tokenizer.ggml.model", "no_vocab");
      if (config.bos_token_id.has_value()) {
        writer_.AddU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*config.bos_token_id));
      }
      AddEndTokens(config.eos_token_ids, -1, &writer_);
    }
  }
  writer_.AddU32("general.file_type", FileType(most->first));
  writer_.AddU32("general.quantization_version", kQuantizationVersion);
  for (const auto& [key, value] : provenance) writer_.AddText(key, value);
  return absl::OkStatus();
}

absl::Status GgufOutput::AddVectors(const VectorsByLayer& vectors) {
  const ModelConfig& config = model_->config();
  const auto add = [&](const std::string& name, std::vector<float> values) {
    tensors_.push_back({name, {}, std::move(values)});
  };
  const std::map<std::string, std::vector<float>> own = CheckpointVectors(config, vectors);
  std::map<std::string, bool> matrices;
  for (const Component& component : model_->components()) {
    matrices[component.stored_name] = true;
  }
  for (const auto& [name, tensor] : model_->tensors()) {
    if (matrices.contains(name)) continue;
    const std::optional<std::string> gguf = GgufTensorName(name, config.architecture);
    if (!gguf.has_value()) {
      return absl::UnimplementedError(
          absl::StrCat(tensor->file, ": tensor \"", name, "\" has no name in GGUF files"));
    }
    std::vector<float> values(tensor->view.cols);
    if (const auto found = own.find(name); found != own.end()) {
      values = found->second;
    } else {
      tensor->view.ReadRow(0, values);
    }
    if (absl::EndsWith(name, "norm.weight")) {
      for (float& value : values) value += config.norm_weight_offset;
    }
    if (FamilyOf(config.architecture).gguf.interleaved_qk &&
        (absl::EndsWith(name, ".q_proj.bias") || absl::EndsWith(name, ".k_proj.bias"))) {
      std::vector<float> moved(values.size());
      for (size_t i = 0; i < values.size(); ++i) {
        moved[InterleavedRow(static_cast<int64_t>(i), config.head_dim)] = values[i];
      }
      values = std::move(moved);
    }
    add(*gguf, std::move(values));
  }
  if (std::vector<float> divisors = GgufRopeDivisors(config); !divisors.empty()) {
    add("rope_freqs.weight", std::move(divisors));
  }
  if (FamilyOf(config.architecture).gguf.long_rope) {
    const RopeScaling& scaling = config.rope_scaling;
    const auto floats = [](const std::vector<double>& values) {
      return std::vector<float>(values.begin(), values.end());
    };
    if (!scaling.factors.empty()) add("rope_factors_short.weight", floats(scaling.factors));
    if (!scaling.long_factors.empty()) {
      add("rope_factors_long.weight", floats(scaling.long_factors));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufOutput::AddTensors() {
  const ModelConfig& config = model_->config();
  for (size_t c = 0; c < assignment_.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const Component& component = model_->component(id);
    const Format& format = assignment_[c];
    if (!GgmlTypeOf(format).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(component.name,
                                                     ": GGUF has no format ",
                                                     format.Name(),
                                                     "; make the plan for target llama.cpp"));
    }
    const std::string name = *GgufTensorName(component.stored_name, config.architecture);
    if (component.stored_row == 0) {
      tensors_.push_back({name, {id}, {}});
      continue;
    }
    Tensor& tensor = tensors_.back();
    if (assignment_[tensor.components.front()] != format) {
      return absl::InvalidArgumentError(
          absl::StrCat(component.name,
                       " has format ",
                       format.Name(),
                       ", but ",
                       model_->component(tensor.components.front()).name,
                       " of the same tensor has ",
                       assignment_[tensor.components.front()].Name(),
                       "; make the plan for target llama.cpp"));
    }
    tensor.components.push_back(id);
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const Tensor& a, const Tensor& b) {
    return OrderOf(a.name) < OrderOf(b.name);
  });
  for (const Tensor& tensor : tensors_) {
    if (tensor.components.empty()) {
      writer_.AddTensor(tensor.name, {static_cast<int64_t>(tensor.vector.size())}, kFormatF32);
      continue;
    }
    int64_t rows = 0;
    for (const ComponentId id : tensor.components) rows += model_->component(id).rows;
    const ComponentId first = tensor.components.front();
    writer_.AddTensor(tensor.name, {rows, model_->component(first).cols}, assignment_[first]);
  }
  return absl::OkStatus();
}

absl::Status GgufOutput::Write(const std::string& path,
                               const WeightEncoder& encoder,
                               int threads,
                               Progress* progress) const {
  progress->Begin("writing tensors", static_cast<int64_t>(tensors_.size()));
  const auto produce = [&](int i, std::vector<uint8_t>* bytes) -> absl::Status {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const Tensor& tensor = tensors_[i];
    bytes->clear();
    if (tensor.components.empty()) {
      bytes->resize(tensor.vector.size() * sizeof(float));
      std::memcpy(bytes->data(), tensor.vector.data(), bytes->size());
    }
    for (const ComponentId id : tensor.components) {
      BB_ASSIGN_OR_RETURN(Encoding encoding, encoder.Encode(id, assignment_[id], threads));
      if (IsInterleaved(model_->component(id), model_->config())) {
        const std::vector<uint8_t> rows = std::move(encoding.bytes);
        const int64_t row_bytes = SizeBytes(encoding.format, 1, encoding.cols);
        encoding.bytes.resize(rows.size());
        for (int64_t row = 0; row < encoding.rows; ++row) {
          const int64_t to = InterleavedRow(row, model_->config().head_dim);
          std::memcpy(encoding.bytes.data() + to * row_bytes,
                      rows.data() + row * row_bytes,
                      static_cast<size_t>(row_bytes));
        }
      }
      if (bytes->empty()) {
        *bytes = std::move(encoding.bytes);
      } else {
        bytes->insert(bytes->end(), encoding.bytes.begin(), encoding.bytes.end());
      }
    }
    progress->Update(i + 1);
    return absl::OkStatus();
  };
  BB_RETURN_IF_ERROR(writer_.Write(path, produce));
  progress->End();
  return absl::OkStatus();
}

}  // namespace bitbudget
