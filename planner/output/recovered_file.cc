#include "planner/output/recovered_file.h"

#include <glog/logging.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/output/decoded_tensors.h"
#include "planner/output/safetensors_output.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/parallel.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/checkpoint/safetensors.h"
#include "runtime/tensor/check_encoding.h"

namespace bitbudget {
namespace {

constexpr char kSuffix[] = ".weights.safetensors";

// The bytes of one component, checked. `name` is that of the file.
absl::StatusOr<RecoveredWeights::Part> CheckPart(const plans::Component& planned,
                                                 const ByteTensors& file,
                                                 const std::string& name) {
  const auto bad = [&](const auto&... parts) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": component ", planned.name(), ": ", parts...));
  };
  const auto tensor = file.tensors.find(planned.name());
  if (tensor == file.tensors.end()) return bad("is missing");
  const auto stated = file.metadata.find(planned.name());
  if (stated == file.metadata.end() || stated->second != planned.format()) {
    return bad("is in ",
               stated == file.metadata.end() ? "no format" : stated->second,
               ", but the plan gives it ",
               planned.format());
  }
  BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(planned.format()));
  const std::span<const std::byte> bytes = tensor->second;
  if (static_cast<int64_t>(bytes.size()) != planned.size_bytes()) {
    return bad("has ",
               bytes.size(),
               " bytes, but ",
               planned.format(),
               " [",
               planned.rows(),
               ", ",
               planned.cols(),
               "] takes ",
               planned.size_bytes());
  }
  if (const std::string hash = Sha256Hex(bytes); hash != planned.encoding_sha256()) {
    return bad("has the SHA-256 ", hash, ", not the ", planned.encoding_sha256(), " of the plan");
  }
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  const Encoding encoding{
      format, planned.rows(), planned.cols(), std::vector<uint8_t>(begin, begin + bytes.size())};
  if (const absl::Status status = CheckEncoding(encoding); !status.ok()) {
    return bad("is damaged: ", status.message());
  }
  return RecoveredWeights::Part{format, bytes};
}

absl::Status CheckNames(const plans::Plan& plan, const ByteTensors& file, const std::string& name) {
  std::set<std::string> planned;
  for (const plans::Component& c : plan.components()) {
    if (!c.encoder().empty()) planned.insert(c.name());
  }
  for (const auto& [tensor, bytes] : file.tensors) {
    if (planned.contains(tensor)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": component ", tensor, ": the plan has no component of that name with codes"));
  }
  return absl::OkStatus();
}

// The file's norms and biases, by the layers that they belong to, beside the model's own there.
// `name` is that of the file.
absl::StatusOr<VectorsByLayer> TakeVectors(const Model& model,
                                           ByteTensors* file,
                                           const std::string& name) {
  VectorsByLayer vectors;
  for (int layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    for (const LayerVector& vector : ListLayerVectors(model.config(), layer)) {
      const auto found = file->floats.find(vector.name);
      if (found == file->floats.end()) continue;
      const auto bad = [&](const auto&... parts) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": tensor ", vector.name, parts...));
      };
      std::vector<float> values = std::move(found->second);
      file->floats.erase(found);
      if (static_cast<int64_t>(values.size()) != vector.size) {
        return bad(" has ", values.size(), " values; the model's has ", vector.size);
      }
      for (float& value : values) {
        if (!std::isfinite(value)) return bad(" has a value that is not finite");
        value += vector.offset;
      }
      const auto own = vectors.try_emplace(layer, model.layer(layer)).first;
      own->second.*vector.values = std::move(values);
    }
  }
  if (file->floats.empty()) return vectors;
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": tensor ", file->floats.begin()->first, " is no norm or bias of the model"));
}

}  // namespace

std::string RecoveredFileFor(const std::string& plan_path) {
  return absl::StrCat(plan_path, kSuffix);
}

std::string RecoveredFileOf(const plans::Plan& plan, const std::string& folder) {
  if (!plan.has_recovery()) return "";
  return (std::filesystem::path(folder) / plan.recovery().weights_file()).string();
}

absl::StatusOr<std::string> WriteRecoveredFile(const Model& model,
                                               const ComponentEncodings& encodings,
                                               const VectorsByLayer& vectors,
                                               const std::string& path,
                                               Progress* progress) {
  std::vector<OutputTensor> tensors;
  std::map<std::string, std::string> metadata;
  for (const auto& [id, encoding] : encodings) {
    const std::string& name = model.component(id).name;
    const auto bytes = static_cast<int64_t>(encoding.bytes.size());
    tensors.push_back({name,
                       "U8",
                       {bytes},
                       bytes,
                       [&encoding = encoding]() -> absl::StatusOr<std::vector<uint8_t>> {
                         return encoding.bytes;
                       }});
    metadata[name] = encoding.format.Name();
  }
  const std::map<std::string, std::vector<float>> named =
      CheckpointVectors(model.config(), vectors);
  for (const auto& [name, values] : named) {
    const auto count = static_cast<int64_t>(values.size());
    tensors.push_back(ValuesTensor(name, {count}, values, kFormatF32));
  }
  BB_RETURN_IF_ERROR(WriteSafetensorsFile(tensors, metadata, path, progress));
  BB_ASSIGN_OR_RETURN(const MappedFile written, MappedFile::Open(path));
  return Sha256Hex(written.bytes());
}

absl::StatusOr<RecoveredWeights> ReadRecoveredFile(const plans::Plan& plan,
                                                   const Model& model,
                                                   const std::string& folder,
                                                   int threads) {
  CHECK(plan.has_recovery());
  const std::string path = RecoveredFileOf(plan, folder);
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) {
    return absl::Status(
        file.status().code(),
        absl::StrCat(file.status().message(), "; the codes of a recovered plan lie beside it"));
  }
  if (const std::string hash = Sha256Hex(file->bytes()); hash != plan.recovery().weights_sha256()) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": not the codes of this plan: its SHA-256 is ",
                                                   hash,
                                                   ", not ",
                                                   plan.recovery().weights_sha256()));
  }
  BB_ASSIGN_OR_RETURN(ByteTensors tensors, ParseByteTensors(file->bytes(), path));
  BB_RETURN_IF_ERROR(CheckNames(plan, tensors, path));
  BB_ASSIGN_OR_RETURN(VectorsByLayer vectors, TakeVectors(model, &tensors, path));
  std::vector<absl::StatusOr<RecoveredWeights::Part>> checked(plan.components_size());
  ParallelFor(threads, plan.components_size(), [&](int64_t c, int) {
    const plans::Component& planned = plan.components(static_cast<int>(c));
    if (!planned.encoder().empty()) checked[c] = CheckPart(planned, tensors, path);
  });
  std::map<ComponentId, RecoveredWeights::Part> parts;
  for (int c = 0; c < plan.components_size(); ++c) {
    if (plan.components(c).encoder().empty()) continue;
    BB_ASSIGN_OR_RETURN(parts[c], std::move(checked[c]));
  }
  return RecoveredWeights(*std::move(file), std::move(parts), std::move(vectors));
}

}  // namespace bitbudget
