#include "planner/output/folder_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "planner/output/decoded_tensors.h"
#include "planner/output/mlx_tensors.h"
#include "planner/output/packed_tensors.h"
#include "planner/output/safetensors_output.h"
#include "planner/output/side_files.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/temporary.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

// The matrices of the checkpoint by the name of their tensor.
std::map<std::string, StoredMatrix> StoredMatrices(const FolderWeights& source) {
  std::map<std::string, StoredMatrix> matrices;
  for (size_t c = 0; c < source.assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const Component& component = source.model.component(id);
    StoredMatrix& matrix = matrices[component.stored_name];
    matrix.components.push_back(id);
    matrix.rows += component.rows;
    matrix.cols = component.cols;
  }
  return matrices;
}

// Whether the folder holds the codes of a component and not its decoded values.
bool IsPacked(const Format& format, FolderOutputOptions::Weights weights) {
  switch (weights) {
    case FolderOutputOptions::Weights::kDequantized:
      return false;
    case FolderOutputOptions::Weights::kCompressedTensors:
      return format.IsInteger();
    case FolderOutputOptions::Weights::kMlx:
      return !format.IsFloat();
  }
  return false;
}

// Every tensor of the folder, in the order of the checkpoint's names. Arguments outlive them.
absl::StatusOr<std::vector<OutputTensor>> ListTensors(const FolderWeights& source,
                                                      const FolderOutputOptions& options,
                                                      MatrixEncoder* encoder) {
  const std::map<std::string, StoredMatrix> matrices = StoredMatrices(source);
  std::vector<OutputTensor> tensors;
  for (const auto& [name, tensor] : source.model.tensors()) {
    const Format stored = tensor->view.format;
    const Format type = options.float_type.value_or(stored);
    if (const auto own = options.vectors.find(name); own != options.vectors.end()) {
      tensors.push_back(ValuesTensor(name, tensor->shape, own->second, type));
      continue;
    }
    const auto matrix = matrices.find(name);
    if (matrix == matrices.end()) {
      const bool mlx = options.weights == FolderOutputOptions::Weights::kMlx;
      tensors.push_back(StoredTensor(name, tensor->shape, tensor->view, mlx ? type : stored));
      continue;
    }
    const Format& format = source.assignment[matrix->second.components.front()];
    if (!IsPacked(format, options.weights)) {
      tensors.push_back(DecodedTensor(name, matrix->second, type, source));
      continue;
    }
    const std::string module(absl::StripSuffix(name, ".weight"));
    BB_ASSIGN_OR_RETURN(std::vector<OutputTensor> packed,
                        options.weights == FolderOutputOptions::Weights::kMlx
                            ? MlxTensors(module, matrix->second, encoder)
                            : PackedTensors(module, matrix->second, encoder));
    for (OutputTensor& part : packed) tensors.push_back(std::move(part));
  }
  return tensors;
}

// A folder's own path, for a sibling and a rename: neither `folder/`, `folder/.` nor a link to it.
std::string PlainPath(const std::string& folder) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(folder, error), error);
  if (error) return folder;
  return (path.has_filename() ? path : path.parent_path()).string();
}

}  // namespace

absl::Status WriteModelFolder(const FolderWeights& source,
                              const FolderOutputOptions& options,
                              const std::string& out,
                              Progress* progress) {
  const Model& model = source.model;
  std::error_code error;
  const std::string folder = PlainPath(out);
  if (!fs::is_directory(model.path(), error)) {
    return absl::UnimplementedError(absl::StrCat(
        model.path(), ": a model from a GGUF file cannot become a folder; write a .gguf file"));
  }
  if (fs::exists(folder, error) &&
      !(fs::is_directory(folder, error) && fs::is_empty(folder, error))) {
    return absl::InvalidArgumentError(
        absl::StrCat(out, ": exists and is not an empty folder; remove it or name another"));
  }
  MatrixEncoder encoder(source);
  BB_ASSIGN_OR_RETURN(const std::vector<OutputTensor> tensors,
                      ListTensors(source, options, &encoder));
  if (progress->Interrupted()) return absl::CancelledError("interrupted");
  RemoveLeftOvers(folder);
  const std::string temporary = TemporaryName(folder, 0);
  if (!fs::create_directory(temporary, error)) {
    return absl::InvalidArgumentError(absl::StrCat(
        temporary, ": cannot create: ", error ? error.message() : std::string("exists")));
  }
  const int lock = open(temporary.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock >= 0) LockTemporary(lock);
  absl::Status status = CopySideFiles(model.path(), temporary);
  if (status.ok()) status = WriteConfig(model.config_path(), options, temporary);
  if (status.ok()) status = WriteSafetensors(tensors, temporary, options.shard_bytes, progress);
  if (status.ok()) {
    fs::rename(temporary, folder, error);
    if (error) {
      status = absl::InternalError(
          absl::StrCat(folder, ": cannot rename into place: ", error.message()));
    }
  }
  if (status.ok()) SyncFolderOf(folder);
  if (!status.ok()) fs::remove_all(temporary, error);
  if (lock >= 0) close(lock);
  return status;
}

}  // namespace bitbudget
