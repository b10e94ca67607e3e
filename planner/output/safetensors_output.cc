#include "planner/output/safetensors_output.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "runtime/base/atomic_file.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using nlohmann::ordered_json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// Tensors [first, end).
absl::Status WriteShard(const std::vector<OutputTensor>& tensors,
                        size_t first,
                        size_t end,
                        const std::map<std::string, std::string>& metadata,
                        const std::string& path,
                        Progress* progress) {
  ordered_json header = {{"__metadata__", metadata}};
  int64_t offset = 0;
  for (size_t i = first; i < end; ++i) {
    const OutputTensor& tensor = tensors[i];
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = DumpJson(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<uint64_t>(text.size());
  BB_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  BB_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(&length), sizeof(length)}));
  BB_RETURN_IF_ERROR(file.Write(text));
  for (size_t i = first; i < end; ++i) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    BB_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, tensors[i].produce());
    BB_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    progress->Update(static_cast<int64_t>(i) + 1);
  }
  return file.Commit();
}

}  // namespace

absl::Status WriteSafetensors(const std::vector<OutputTensor>& tensors,
                              const std::string& folder,
                              int64_t shard_bytes,
                              Progress* progress) {
  std::vector<size_t> ends;
  int64_t total = 0;
  int64_t held = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (held > 0 && held + tensors[i].bytes > shard_bytes) {
      ends.push_back(i);
      held = 0;
    }
    held += tensors[i].bytes;
    total += tensors[i].bytes;
  }
  ends.push_back(tensors.size());
  progress->Begin("writing tensors", static_cast<int64_t>(tensors.size()));
  ordered_json index = {{"metadata", {{"total_size", total}}},
                        {"weight_map", ordered_json::object()}};
  size_t first = 0;
  for (size_t shard = 0; shard < ends.size(); ++shard) {
    const std::string name =
        ends.size() == 1
            ? std::string(kSingleFile)
            : absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, ends.size());
    BB_RETURN_IF_ERROR(
        WriteShard(tensors, first, ends[shard], {{"format", "pt"}}, folder + "/" + name, progress));
    for (; first < ends[shard]; ++first) index["weight_map"][tensors[first].name] = name;
  }
  progress->End();
  if (ends.size() == 1) return absl::OkStatus();
  return WriteFileAtomically(folder + "/" + kIndexFile, DumpJson(index, 2) + "\n");
}

absl::Status WriteSafetensorsFile(const std::vector<OutputTensor>& tensors,
                                  const std::map<std::string, std::string>& metadata,
                                  const std::string& path,
                                  Progress* progress) {
  progress->Begin("writing tensors", static_cast<int64_t>(tensors.size()));
  BB_RETURN_IF_ERROR(WriteShard(tensors, 0, tensors.size(), metadata, path, progress));
  progress->End();
  return absl::OkStatus();
}

}  // namespace bitbudget
