#include "planner/output/folder_output.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/float16.h"
#include "runtime/base/json.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr int kBitsPerWord = 32;  // of pack-quantized's codes

// A tensor to be written: its bytes are made when its turn comes.
struct OutputTensor {
  std::string name;
  std::string dtype;  // as safetensors spells it
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::function<absl::StatusOr<std::vector<uint8_t>>()> produce;
};

// The components that one tensor of the checkpoint holds, in row order.
struct StoredMatrix {
  std::vector<ComponentId> components;
  int64_t rows = 0;
  int64_t cols = 0;
};

const char* SafetensorsType(const Format& format) {
  if (format == kFormatBF16) return "BF16";
  if (format == kFormatF16) return "F16";
  return "F32";
}

// Values in a float format, appended. Infinity where f16 is too narrow is an error.
absl::Status AppendFloats(std::span<const float> values,
                          const Format& type,
                          const std::string& name,
                          std::vector<uint8_t>* out) {
  const size_t at = out->size();
  if (type == kFormatF32) {
    out->resize(at + values.size_bytes());
    std::memcpy(out->data() + at, values.data(), values.size_bytes());
    return absl::OkStatus();
  }
  out->resize(at + 2 * values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = type == kFormatF16 ? FloatToHalf(values[i]) : FloatToBFloat16(values[i]);
    if (type == kFormatF16 && (bits & 0x7fff) == 0x7c00) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", values[i], " is beyond the largest f16; use --dtype bf16"));
    }
    std::memcpy(out->data() + at + 2 * i, &bits, sizeof(bits));
  }
  return absl::OkStatus();
}

class FolderWriter {
 public:
  FolderWriter(const Model& model,
               const Assignment& assignment,
               const WeightEncoder& encoder,
               const FolderOutputOptions& options,
               int threads)
      : model_(model),
        assignment_(assignment),
        encoder_(encoder),
        options_(options),
        threads_(threads) {}

  absl::Status List();
  absl::Status WriteWeights(const std::string& folder, Progress* progress);
  absl::Status WriteConfig(const std::string& folder) const;

 private:
  void AddDecoded(const std::string& name, const StoredMatrix& matrix, const Format& stored);
  absl::Status AddPacked(const std::string& module, const StoredMatrix& matrix);
  // What pack-quantized holds: codes, or zero points, packed into words.
  absl::StatusOr<std::vector<uint8_t>> PackCodes(const StoredMatrix& matrix);
  absl::StatusOr<std::vector<uint8_t>> PackZeros(const StoredMatrix& matrix);
  absl::StatusOr<std::vector<uint8_t>> Scales(const StoredMatrix& matrix);
  // The encodings of a matrix's components; kept until another matrix is asked for.
  absl::StatusOr<const std::vector<Encoding>*> Encoded(const StoredMatrix& matrix);
  absl::Status WriteShard(const std::string& path, size_t first, size_t end, Progress* progress);

  const Model& model_;
  const Assignment& assignment_;
  const WeightEncoder& encoder_;
  const FolderOutputOptions& options_;
  const int threads_;
  std::vector<OutputTensor> tensors_;
  std::vector<ComponentId> encoded_components_;
  std::vector<Encoding> encoded_;
};

absl::Status FolderWriter::List() {
  std::map<std::string, StoredMatrix> matrices;
  for (size_t c = 0; c < assignment_.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const Component& component = model_.component(id);
    StoredMatrix& matrix = matrices[component.stored_name];
    matrix.components.push_back(id);
    matrix.rows += component.rows;
    matrix.cols = component.cols;
  }
  for (const auto& [name, tensor] : model_.tensors()) {
    const auto it = matrices.find(name);
    if (const auto own = options_.vectors.find(name); own != options_.vectors.end()) {
      const Format type = options_.float_type.value_or(tensor->view.format);
      const std::vector<float>& values = own->second;
      tensors_.push_back({name,
                          SafetensorsType(type),
                          tensor->shape,
                          SizeBytes(type, 1, static_cast<int64_t>(values.size())),
                          [&values, type, name = name]() -> absl::StatusOr<std::vector<uint8_t>> {
                            std::vector<uint8_t> bytes;
                            BB_RETURN_IF_ERROR(AppendFloats(values, type, name, &bytes));
                            return bytes;
                          }});
      continue;
    }
    if (it == matrices.end()) {
      const TensorView view = tensor->view;
      tensors_.push_back({name,
                          SafetensorsType(view.format),
                          tensor->shape,
                          view.bytes(),
                          [view]() -> absl::StatusOr<std::vector<uint8_t>> {
                            const auto* bytes = reinterpret_cast<const uint8_t*>(view.data);
                            return std::vector<uint8_t>(bytes, bytes + view.bytes());
                          }});
      continue;
    }
    const bool packed = options_.weights == FolderOutputOptions::Weights::kCompressedTensors &&
                        assignment_[it->second.components.front()].IsInteger();
    if (packed) {
      BB_RETURN_IF_ERROR(AddPacked(std::string(absl::StripSuffix(name, ".weight")), it->second));
    } else {
      AddDecoded(name, it->second, tensor->view.format);
    }
  }
  return absl::OkStatus();
}

void FolderWriter::AddDecoded(const std::string& name,
                              const StoredMatrix& matrix,
                              const Format& stored) {
  const Format type = options_.float_type.value_or(stored);
  const auto produce = [this, name, matrix, type]() -> absl::StatusOr<std::vector<uint8_t>> {
    std::vector<uint8_t> bytes;
    bytes.reserve(SizeBytes(type, matrix.rows, matrix.cols));
    std::vector<float> row(matrix.cols);
    for (const ComponentId id : matrix.components) {
      BB_ASSIGN_OR_RETURN(const Encoding encoding, encoder_.Encode(id, assignment_[id], threads_));
      for (int64_t r = 0; r < encoding.rows; ++r) {
        DecodeReferenceRow(encoding, r, row);
        BB_RETURN_IF_ERROR(AppendFloats(row, type, name, &bytes));
      }
    }
    return bytes;
  };
  tensors_.push_back({name,
                      SafetensorsType(type),
                      {matrix.rows, matrix.cols},
                      SizeBytes(type, matrix.rows, matrix.cols),
                      produce});
}

absl::Status FolderWriter::AddPacked(const std::string& module, const StoredMatrix& matrix) {
  const ComponentId first = matrix.components.front();
  const Format& format = assignment_[first];
  for (const ComponentId id : matrix.components) {
    if (assignment_[id] != format) {
      return absl::InvalidArgumentError(absl::StrCat(model_.component(id).name,
                                                     ": has format ",
                                                     assignment_[id].Name(),
                                                     ", but ",
                                                     model_.component(first).name,
                                                     " of the same module has ",
                                                     format.Name(),
                                                     "; plan with --target compressed-tensors"));
    }
  }
  if (model_.component(first).kind == ComponentKind::kEmbedding) {
    return absl::InvalidArgumentError(absl::StrCat(model_.component(first).name,
                                                   ": compressed-tensors holds linear layers, not "
                                                   "an embedding in ",
                                                   format.Name()));
  }
  const int64_t per_word = kBitsPerWord / format.bits;
  const int64_t words = (matrix.cols + per_word - 1) / per_word;
  const int64_t groups = format.GroupsPerRow(matrix.cols);
  tensors_.push_back({module + ".weight_packed",
                      "I32",
                      {matrix.rows, words},
                      matrix.rows * words * 4,
                      [this, matrix] { return PackCodes(matrix); }});
  tensors_.push_back({module + ".weight_scale",
                      "F16",
                      {matrix.rows, groups},
                      matrix.rows * groups * 2,
                      [this, matrix] { return Scales(matrix); }});
  tensors_.push_back({module + ".weight_shape",
                      "I64",
                      {2},
                      16,
                      [matrix]() -> absl::StatusOr<std::vector<uint8_t>> {
                        const int64_t shape[] = {matrix.rows, matrix.cols};
                        std::vector<uint8_t> bytes(sizeof(shape));
                        std::memcpy(bytes.data(), shape, sizeof(shape));
                        return bytes;
                      }});
  if (format.zero_point) {
    const int64_t zero_words = (matrix.rows + per_word - 1) / per_word;
    tensors_.push_back({module + ".weight_zero_point",
                        "I32",
                        {zero_words, groups},
                        zero_words * groups * 4,
                        [this, matrix] { return PackZeros(matrix); }});
  }
  return absl::OkStatus();
}

absl::StatusOr<const std::vector<Encoding>*> FolderWriter::Encoded(const StoredMatrix& matrix) {
  if (matrix.components == encoded_components_) return &encoded_;
  encoded_components_.clear();
  encoded_.clear();
  for (const ComponentId id : matrix.components) {
    BB_ASSIGN_OR_RETURN(Encoding encoding, encoder_.Encode(id, assignment_[id], threads_));
    encoded_.push_back(std::move(encoding));
  }
  encoded_components_ = matrix.components;
  return &encoded_;
}

absl::StatusOr<std::vector<uint8_t>> FolderWriter::PackCodes(const StoredMatrix& matrix) {
  // Codes of a row, the first in the lowest bits; compressed-tensors stores value + 2^(bits-1) of
  // signed values, which are these unsigned codes.
  const Format& format = assignment_[matrix.components.front()];
  const int64_t per_word = kBitsPerWord / format.bits;
  const int64_t row_bytes = (matrix.cols + per_word - 1) / per_word * 4;
  std::vector<uint8_t> bytes(matrix.rows * row_bytes);
  uint8_t* to = bytes.data();
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, Encoded(matrix));
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(format, encoding.rows, encoding.cols);
    for (int64_t r = 0; r < encoding.rows; ++r, to += row_bytes) {
      // Words are little-endian and our codes have the low nibble first: the same bytes.
      std::memcpy(to,
                  encoding.bytes.data() + r * layout.code_row_bytes,
                  static_cast<size_t>(layout.code_row_bytes));
    }
  }
  return bytes;
}

absl::StatusOr<std::vector<uint8_t>> FolderWriter::Scales(const StoredMatrix& matrix) {
  const Format& format = assignment_[matrix.components.front()];
  std::vector<uint8_t> bytes;
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, Encoded(matrix));
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(format, encoding.rows, encoding.cols);
    const auto begin = encoding.bytes.begin() + layout.scales_offset;
    bytes.insert(bytes.end(), begin, begin + encoding.rows * layout.groups * 2);
  }
  return bytes;
}

absl::StatusOr<std::vector<uint8_t>> FolderWriter::PackZeros(const StoredMatrix& matrix) {
  // Packed down the rows: word w of a group holds the zero points of rows per_word * w and on.
  const Format& format = assignment_[matrix.components.front()];
  const int64_t per_word = kBitsPerWord / format.bits;
  const int64_t groups = format.GroupsPerRow(matrix.cols);
  std::vector<uint32_t> words((matrix.rows + per_word - 1) / per_word * groups);
  int64_t row = 0;
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, Encoded(matrix));
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(format, encoding.rows, encoding.cols);
    for (int64_t r = 0; r < encoding.rows; ++r, ++row) {
      const uint8_t* zeros =
          encoding.bytes.data() + layout.zeros_offset + r * layout.zero_row_bytes;
      for (int64_t g = 0; g < groups; ++g) {
        const uint32_t zero = format.bits == 8 ? zeros[g] : (zeros[g / 2] >> (g % 2 * 4)) & 0xf;
        words[row / per_word * groups + g] |= zero << (row % per_word * format.bits);
      }
    }
  }
  std::vector<uint8_t> bytes(words.size() * sizeof(uint32_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

absl::Status FolderWriter::WriteShard(const std::string& path,
                                      size_t first,
                                      size_t end,
                                      Progress* progress) {
  ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t offset = 0;
  for (size_t i = first; i < end; ++i) {
    const OutputTensor& tensor = tensors_[i];
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<uint64_t>(text.size());
  BB_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  BB_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(&length), sizeof(length)}));
  BB_RETURN_IF_ERROR(file.Write(text));
  for (size_t i = first; i < end; ++i) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    BB_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, tensors_[i].produce());
    BB_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    progress->Update(static_cast<int64_t>(i) + 1);
  }
  return file.Commit();
}

absl::Status FolderWriter::WriteWeights(const std::string& folder, Progress* progress) {
  std::vector<size_t> ends;
  int64_t total = 0;
  int64_t held = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (held > 0 && held + tensors_[i].bytes > options_.shard_bytes) {
      ends.push_back(i);
      held = 0;
    }
    held += tensors_[i].bytes;
    total += tensors_[i].bytes;
  }
  ends.push_back(tensors_.size());
  progress->Begin("writing tensors", static_cast<int64_t>(tensors_.size()));
  ordered_json index = {{"metadata", {{"total_size", total}}},
                        {"weight_map", ordered_json::object()}};
  size_t first = 0;
  for (size_t shard = 0; shard < ends.size(); ++shard) {
    const std::string name =
        ends.size() == 1
            ? std::string(kSingleFile)
            : absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, ends.size());
    BB_RETURN_IF_ERROR(WriteShard(folder + "/" + name, first, ends[shard], progress));
    for (; first < ends[shard]; ++first) index["weight_map"][tensors_[first].name] = name;
  }
  progress->End();
  if (ends.size() == 1) return absl::OkStatus();
  return WriteFileAtomically(folder + "/" + kIndexFile, index.dump(2) + "\n");
}

absl::Status FolderWriter::WriteConfig(const std::string& folder) const {
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(model_.config_path()));
  BB_ASSIGN_OR_RETURN(ordered_json config,
                      ParseOrderedJson(text, model_.config_path(), DuplicateKeys::kRefuse));
  if (options_.weights == FolderOutputOptions::Weights::kCompressedTensors) {
    BB_ASSIGN_OR_RETURN(
        ordered_json scheme,
        ParseOrderedJson(
            options_.quantization_config, "the quantization config", DuplicateKeys::kRefuse));
    if (scheme.contains("quantization_config")) {
      scheme = ordered_json(scheme["quantization_config"]);
    }
    config["quantization_config"] = std::move(scheme);
  }
  if (options_.float_type.has_value()) {
    const char* names[] = {"float32", "float16", "bfloat16"};
    const int which = *options_.float_type == kFormatF32   ? 0
                      : *options_.float_type == kFormatF16 ? 1
                                                           : 2;
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = names[which];
  }
  return WriteFileAtomically(folder + "/config.json", config.dump(2) + "\n");
}

// Everything that is not about the weights, which are written anew.
absl::Status CopyOtherFiles(const std::string& from, const std::string& to) {
  std::error_code error;
  for (fs::directory_iterator entry(from, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool weights = absl::EndsWith(name, ".safetensors") || name == kIndexFile ||
                         absl::EndsWith(name, ".bin") || absl::EndsWith(name, ".gguf") ||
                         absl::EndsWith(name, ".pth") || absl::EndsWith(name, ".pt");
    if (weights || name == "config.json" || !entry->is_regular_file(error)) continue;
    fs::copy_file(entry->path(), to + "/" + name, error);
    if (error) break;
  }
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(from, ": cannot copy to ", to, ": ", error.message()));
}

}  // namespace

absl::Status WriteModelFolder(const Model& model,
                              const Assignment& assignment,
                              const WeightEncoder& encoder,
                              const FolderOutputOptions& options,
                              const std::string& folder,
                              int threads,
                              Progress* progress) {
  std::error_code error;
  if (!fs::is_directory(model.path(), error)) {
    return absl::UnimplementedError(absl::StrCat(
        model.path(), ": only a model folder can be written as a folder; give --out FILE.gguf"));
  }
  if (fs::exists(folder, error) &&
      !(fs::is_directory(folder, error) && fs::is_empty(folder, error))) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": exists and is not an empty folder; remove it or name another"));
  }
  FolderWriter writer(model, assignment, encoder, options, threads);
  BB_RETURN_IF_ERROR(writer.List());
  const std::string temporary = absl::StrCat(folder, ".tmp.", getpid());
  if (!fs::create_directory(temporary, error)) {
    return absl::InvalidArgumentError(absl::StrCat(
        temporary, ": cannot create: ", error ? error.message() : std::string("exists")));
  }
  absl::Status status = CopyOtherFiles(model.path(), temporary);
  if (status.ok()) status = writer.WriteConfig(temporary);
  if (status.ok()) status = writer.WriteWeights(temporary, progress);
  if (status.ok()) {
    fs::rename(temporary, folder, error);
    if (error) {
      status = absl::InternalError(
          absl::StrCat(folder, ": cannot rename into place: ", error.message()));
    }
  }
  if (!status.ok()) fs::remove_all(temporary, error);
  return status;
}

}  // namespace bitbudget
