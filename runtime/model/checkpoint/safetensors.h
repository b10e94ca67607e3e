#ifndef BITBUDGET_RUNTIME_MODEL_CHECKPOINT_SAFETENSORS_H_
#define BITBUDGET_RUNTIME_MODEL_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/mapped_file.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

struct ArchiveTensor {
  std::vector<int64_t> shape;
  TensorView view;   // vectors are [1, n]; more than two dimensions are [first, rest]
  std::string file;  // the file that holds it, for messages
};

// "F32", "F16" or "BF16". REQUIRES: a float format.
std::string SafetensorsDType(const Format& format);

// The tensors of one file in the safetensors format: an 8-byte little-endian header length, a JSON
// header, and the data. `path` is named in messages; the views point into `bytes`. Refuses
// (kInvalidArgument, naming file, tensor or byte offset, and value) what the format forbids: a
// header longer than the file or than 100 MB, JSON that does not parse, duplicate names, unknown
// dtypes and fields, shapes that do not match offsets, and offsets that are out of range,
// overlap, or leave bytes that no tensor owns.
absl::StatusOr<std::map<std::string, ArchiveTensor>> ParseSafetensors(
    std::span<const std::byte> bytes, const std::string& path);

// A file of bytes and floats. What bytes mean stands in the metadata, or is known to the reader.
struct ByteTensors {
  std::map<std::string, std::span<const std::byte>> tensors;  // U8
  std::map<std::string, std::vector<float>> floats;           // F32
  std::map<std::string, std::string> metadata;                // __metadata__ of the header
};

// The same, of a file of U8 and F32 tensors. Errors likewise.
absl::StatusOr<ByteTensors> ParseByteTensors(std::span<const std::byte> bytes,
                                             const std::string& path);

// The tensors of a checkpoint: model.safetensors, or the shards that model.safetensors.index.json
// names (the single file goes first when both exist, as in Hugging Face's loader), memory-mapped.
// Also refuses a tensor in two shards, index entries without a tensor, shard tensors that the index
// places elsewhere, and shard names that lead out of the folder.
struct SafetensorsArchive {
  static absl::StatusOr<SafetensorsArchive> Open(const std::string& folder);

  // The file that says which tensors there are: the single file or the index.
  std::string path;
  std::vector<MappedFile> files;
  std::map<std::string, ArchiveTensor> tensors;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_SAFETENSORS_H_
