#ifndef BITBUDGET_RUNTIME_MODEL_SAFETENSORS_H_
#define BITBUDGET_RUNTIME_MODEL_SAFETENSORS_H_

#include <cstdint>
#include <map>
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

// The tensors of a checkpoint: model.safetensors, or the shards that model.safetensors.index.json
// names, memory-mapped. Refuses (kInvalidArgument, naming file, tensor or byte offset, and value)
// anything malformed: header length beyond the file, JSON that does not parse, duplicate names
// within or across shards, unknown dtypes, shapes that do not match offsets, offsets out of range,
// overlapping or with gaps, index entries that no shard holds and shard tensors not in the index.
class SafetensorsArchive {
 public:
  static absl::StatusOr<SafetensorsArchive> Open(const std::string& folder);

  const std::map<std::string, ArchiveTensor>& tensors() const { return tensors_; }
  const std::vector<MappedFile>& files() const { return files_; }

 private:
  std::vector<MappedFile> files_;
  std::map<std::string, ArchiveTensor> tensors_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_SAFETENSORS_H_
