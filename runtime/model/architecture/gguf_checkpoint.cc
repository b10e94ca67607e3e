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
#include "absl/strings/str_format.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/architecture/gguf_names.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"

namespace bitbudget {
namespace {

constexpr int64_t kMaxSplits = 99'999;  // what five digits can name

// A key of a split file, or `absent` when the file has no such key.
absl::StatusOr<int64_t> SplitNumber(const GgufFile& file, const char* key, int64_t absent) {
  const GgufValue* value = file.Find(key);
  if (value == nullptr) return absent;
  const std::optional<int64_t> number = value->Integer();
  if (!number.has_value() || *number < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path, ": ", key, ": ", value->Describe(), " is not a count"));
  }
  return *number;
}

absl::Status AddFile(const std::string& path, GgufFiles* out) {
  BB_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  BB_ASSIGN_OR_RETURN(GgufFile parsed, ParseGguf(file.bytes(), path));
  out->files.push_back(std::move(file));
  out->parsed.push_back(std::move(parsed));
  return absl::OkStatus();
}

// Tensors that only say how positions are rotated: they are part of the configuration.
bool IsRopeTensor(absl::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" ||
         name == "rope_factors_short.weight";
}

// GGUF files of Llama hold the rows of every head of q and k with the two halves that rotate
// together interleaved: row 2i + j is Hugging Face's row j * head_dim / 2 + i.
bool IsInterleaved(const std::string& name, const ModelConfig& config) {
  const bool llama = config.architecture == Architecture::kLlama;
  return llama && (absl::StrContains(name, ".self_attn.q_proj.") ||
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

absl::StatusOr<GgufFiles> OpenGgufFiles(const std::string& path) {
  GgufFiles files;
  BB_RETURN_IF_ERROR(AddFile(path, &files));
  BB_ASSIGN_OR_RETURN(const int64_t count, SplitNumber(files.parsed.front(), "split.count", 0));
  if (count <= 1) return files;
  BB_ASSIGN_OR_RETURN(const int64_t number, SplitNumber(files.parsed.front(), "split.no", 0));
  const std::string suffix = absl::StrFormat("-%05d-of-%05d.gguf", 1, count);
  if (number != 0 || count > kMaxSplits || !absl::EndsWith(path, suffix)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": is file ",
                     number + 1,
                     " of ",
                     count,
                     "; give the first one, whose name ends in -00001-of-0000N.gguf"));
  }
  const std::string stem = path.substr(0, path.size() - suffix.size());
  int64_t tensors = static_cast<int64_t>(files.parsed.front().tensors.size());
  for (int64_t i = 1; i < count; ++i) {
    const std::string part = stem + absl::StrFormat("-%05d-of-%05d.gguf", i + 1, count);
    BB_RETURN_IF_ERROR(AddFile(part, &files));
    BB_ASSIGN_OR_RETURN(const int64_t part_number, SplitNumber(files.parsed.back(), "split.no", 0));
    BB_ASSIGN_OR_RETURN(const int64_t of, SplitNumber(files.parsed.back(), "split.count", 0));
    if (part_number != i || of != count) {
      return absl::InvalidArgumentError(
          absl::StrCat(part, ": split.no and split.count: say file ", part_number + 1, " of ", of));
    }
    tensors += static_cast<int64_t>(files.parsed.back().tensors.size());
  }
  BB_ASSIGN_OR_RETURN(const int64_t expected,
                      SplitNumber(files.parsed.front(), "split.tensors.count", tensors));
  if (tensors != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": split.tensors.count: ", expected, ", but the files hold ", tensors, " tensors"));
  }
  return files;
}

absl::StatusOr<Checkpoint> OpenGguf(const std::string& path) {
  BB_ASSIGN_OR_RETURN(GgufFiles files, OpenGgufFiles(path));
  // What is said of the whole model stands in the first file; configuration and tokenizer need the
  // names of all tensors.
  GgufFile& first = files.parsed.front();
  std::unordered_set<std::string> names;
  for (const GgufTensor& tensor : first.tensors) names.insert(tensor.name);
  for (size_t i = 1; i < files.parsed.size(); ++i) {
    for (const GgufTensor& tensor : files.parsed[i].tensors) {
      if (!names.insert(tensor.name).second) {
        return absl::InvalidArgumentError(absl::StrCat(files.parsed[i].path,
                                                       ": tensor ",
                                                       Quoted(tensor.name),
                                                       ": stands in another file of the split"));
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
