#include "runtime/model/architecture/gguf_checkpoint.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/architecture/gguf_names.h"
#include "runtime/model/checkpoint/gguf_files.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"

namespace bitbudget {
namespace {

// Tensors that say how positions are rotated: they are part of the configuration.
bool IsRopeTensor(absl::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" ||
         name == "rope_factors_short.weight";
}

bool IsInterleaved(const std::string& name, const ModelConfig& config) {
  return FamilyOf(config.architecture).gguf.interleaved_qk &&
         (absl::StrContains(name, ".self_attn.q_proj.") ||
          absl::StrContains(name, ".self_attn.k_proj."));
}

// A bias of such rows, put into Hugging Face's order.
absl::Status UntangleBias(const std::string& path, Checkpoint* checkpoint, ArchiveTensor* stored) {
  const int64_t head_dim = checkpoint->config.head_dim;
  if (stored->view.cols % head_dim != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": a bias of ", stored->view.cols, " values is not one of heads of ", head_dim));
  }
  std::vector<float> values(stored->view.cols);
  stored->view.ReadRow(0, values);
  const TensorView column{kFormatF32,
                          reinterpret_cast<const std::byte*>(values.data()),
                          stored->view.cols,
                          1,
                          head_dim};
  std::vector<float>& ordered = checkpoint->owned.emplace_back(values.size());
  for (int64_t i = 0; i < column.rows; ++i) {
    column.ReadRow(i, std::span(ordered).subspan(static_cast<size_t>(i), 1));
  }
  stored->view = ViewOf(ordered, 1, column.rows);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Checkpoint> OpenGguf(const std::string& path) {
  BB_ASSIGN_OR_RETURN(GgufFiles files, OpenGgufFiles(path));
  // The first file describes the whole model; configuration and tokenizer need the names of all
  // tensors.
  GgufFile& first = files.parsed.front();
  std::unordered_set<std::string> names;
  for (const GgufTensor& tensor : first.tensors) names.insert(tensor.name);
  for (size_t i = 1; i < files.parsed.size(); ++i) {
    for (const GgufTensor& tensor : files.parsed[i].tensors) {
      if (!names.insert(tensor.name).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(files.parsed[i].path,
                         ": tensor ",
                         Quoted(tensor.name),
                         ": duplicate name, also in another file of the split"));
      }
      first.tensors.push_back(tensor);
    }
  }

  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.config_path = path;
  checkpoint.tensors_path = path;
  checkpoint.config_text.assign(reinterpret_cast<const char*>(first.metadata.data()),
                                first.metadata.size());
  BB_ASSIGN_OR_RETURN(checkpoint.config, ConfigFromGguf(first));
  for (const GgufTensor& tensor : first.tensors) {
    if (IsRopeTensor(tensor.name)) continue;
    const std::optional<std::string> name =
        HuggingFaceTensorName(tensor.name, checkpoint.config.architecture);
    if (!name.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(path,
                                                     ": tensor ",
                                                     Quoted(tensor.name),
                                                     ": has no place in the architecture ",
                                                     checkpoint.config.architecture_name));
    }
    ArchiveTensor& stored = checkpoint.tensors[*name];
    stored.shape = tensor.shape;
    stored.file = path;
    stored.view.format = tensor.format;
    stored.view.data = tensor.data.data();
    stored.view.cols = tensor.shape.back();
    stored.view.rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) stored.view.rows *= tensor.shape[d];
    if (!IsInterleaved(*name, checkpoint.config)) continue;
    if (tensor.shape.size() > 1) {
      stored.view.interleaved_rows = checkpoint.config.head_dim;
    } else {
      BB_RETURN_IF_ERROR(UntangleBias(path, &checkpoint, &stored));
    }
  }
  checkpoint.files = std::move(files.files);
  BB_ASSIGN_OR_RETURN(std::optional<TokenizerData> tokenizer, TokenizerDataFromGguf(first));
  if (tokenizer.has_value()) {
    BB_ASSIGN_OR_RETURN(checkpoint.tokenizer, MakeTokenizer(*std::move(tokenizer)));
  }
  return checkpoint;
}

}  // namespace bitbudget
