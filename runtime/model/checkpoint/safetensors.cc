#include "runtime/model/checkpoint/safetensors.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the format's reference implementation

absl::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// a * b, or nothing when it does not fit.
std::optional<int64_t> CheckedProduct(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// A list of integers in [0, 2^63).
std::optional<std::vector<int64_t>> ReadSizes(const json& list) {
  if (!list.is_array()) return std::nullopt;
  std::vector<int64_t> sizes;
  for (const json& size : list) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX) return std::nullopt;
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

struct Extent {
  int64_t begin;
  int64_t end;
  const std::string* name;
};

// The types of elements that a kind of file may hold.
struct ElementType {
  const char* name;
  int bytes;
  Format format;  // of floats
};
struct ElementTypes {
  std::span<const ElementType> types;
  const char* unsupported;  // what messages say of others
};
constexpr ElementType kFloats[] = {
    {"F32", 4, kFormatF32}, {"F16", 2, kFormatF16}, {"BF16", 2, kFormatBF16}};
constexpr Format kNoFormat = {.kind = FormatKind::kRemoved};
constexpr ElementType kBytes[] = {{"U8", 1, kNoFormat}, {"F32", 4, kFormatF32}};
constexpr ElementTypes kFloatTypes = {kFloats, "is not supported (F32, F16 and BF16 are)"};
constexpr ElementTypes kByteTypes = {kBytes, "is not supported (U8 and F32 are)"};

// One entry of the header. `data` is the part of the file after the header. The view of a tensor of
// bytes has no format.
absl::StatusOr<ArchiveTensor> ParseTensor(const json& entry,
                                          std::span<const std::byte> data,
                                          const ElementTypes& types,
                                          const std::string& where,
                                          Extent* extent) {
  const auto invalid = [&](const char* field, absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, field, ": ", ValueText(entry[field]), " ", what));
  };
  if (!entry.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ValueText(entry), " is not an object"));
  }
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(field)) {
      return absl::InvalidArgumentError(absl::StrCat(where, field, ": is missing"));
    }
  }
  for (const auto& [field, value] : entry.items()) {
    if (field != "dtype" && field != "shape" && field != "data_offsets") {
      return absl::InvalidArgumentError(absl::StrCat(where, Quoted(field), ": unknown field"));
    }
  }

  ArchiveTensor tensor;
  const json& dtype = entry["dtype"];
  const auto type = std::find_if(types.types.begin(), types.types.end(), [&](const ElementType& t) {
    return dtype == t.name;
  });
  if (type == types.types.end()) return invalid("dtype", types.unsupported);
  tensor.view.format = type->format;

  std::optional<std::vector<int64_t>> shape = ReadSizes(entry["shape"]);
  if (!shape.has_value()) return invalid("shape", "is not a list of sizes");
  tensor.shape = *std::move(shape);
  int64_t first = 1;
  std::optional<int64_t> rest = 1;
  for (size_t i = 0; i < tensor.shape.size() && rest.has_value(); ++i) {
    if (i == 0 && tensor.shape.size() > 1) {
      first = tensor.shape[0];
    } else {
      rest = CheckedProduct(*rest, tensor.shape[i]);
    }
  }
  std::optional<int64_t> bytes = rest.has_value() ? CheckedProduct(first, *rest) : std::nullopt;
  if (bytes.has_value()) bytes = CheckedProduct(*bytes, type->bytes);
  if (!bytes.has_value()) return invalid("shape", "is too large");

  const std::optional<std::vector<int64_t>> offsets = ReadSizes(entry["data_offsets"]);
  if (!offsets.has_value() || offsets->size() != 2 || (*offsets)[0] > (*offsets)[1]) {
    return invalid("data_offsets", "is not [begin, end]");
  }
  const int64_t begin = (*offsets)[0];
  const int64_t end = (*offsets)[1];
  if (static_cast<uint64_t>(end) > data.size()) {
    return invalid("data_offsets",
                   absl::StrCat("reaches beyond the ", data.size(), " bytes of data in the file"));
  }
  if (end - begin != *bytes) {
    return invalid("data_offsets",
                   absl::StrCat("spans ",
                                end - begin,
                                " bytes, but shape ",
                                ValueText(entry["shape"]),
                                " of ",
                                type->name,
                                " takes ",
                                *bytes));
  }
  tensor.view.data = data.data() + begin;
  tensor.view.rows = first;
  tensor.view.cols = *rest;
  extent->begin = begin;
  extent->end = end;
  return tensor;
}

// The format allows neither overlaps nor bytes that no tensor owns: both are ways to hide data.
absl::Status CheckCoverage(std::vector<Extent> extents,
                           int64_t data_size,
                           const std::string& path) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t covered = 0;
  const std::string* previous = nullptr;
  for (const Extent& extent : extents) {
    if (extent.begin < covered) {
      return absl::InvalidArgumentError(absl::StrCat(path,
                                                     ": tensor ",
                                                     Quoted(*extent.name),
                                                     ": data_offsets: [",
                                                     extent.begin,
                                                     ",",
                                                     extent.end,
                                                     "] overlaps tensor ",
                                                     Quoted(*previous),
                                                     ", which ends at ",
                                                     covered));
    }
    if (extent.begin > covered) {
      return absl::InvalidArgumentError(absl::StrCat(path,
                                                     ": tensor ",
                                                     Quoted(*extent.name),
                                                     ": data_offsets: [",
                                                     extent.begin,
                                                     ",",
                                                     extent.end,
                                                     "] leaves a gap: no tensor owns data bytes ",
                                                     covered,
                                                     " to ",
                                                     extent.begin));
    }
    covered = extent.end;
    previous = extent.name;
  }
  if (covered != data_size) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": the tensors end at data byte ",
                                                   covered,
                                                   ", but the file has ",
                                                   data_size,
                                                   " bytes of data"));
  }
  return absl::OkStatus();
}

absl::Status CheckMetadata(const json& metadata, const std::string& path) {
  if (!metadata.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": __metadata__: ", ValueText(metadata), " is not an object"));
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": __metadata__: ", Quoted(key), ": ", ValueText(value), " is not a string"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string SafetensorsDType(const Format& format) {
  CHECK(format.IsFloat()) << format.Name();
  return absl::AsciiStrToUpper(format.Name());
}

namespace {

struct ParsedFile {
  std::map<std::string, ArchiveTensor> tensors;
  std::map<std::string, std::string> metadata;
};

absl::StatusOr<ParsedFile> ParseFile(std::span<const std::byte> bytes,
                                     const ElementTypes& types,
                                     const std::string& path) {
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", bytes.size(), " bytes are too few for a safetensors file"));
  }
  uint64_t header_bytes = 0;
  for (uint64_t i = 0; i < kLengthBytes; ++i) {
    header_bytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": header length ",
                                                   header_bytes,
                                                   " at byte 0 is above the limit of ",
                                                   kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": header length ",
                                                   header_bytes,
                                                   " at byte 0 reaches beyond the file of ",
                                                   bytes.size(),
                                                   " bytes"));
  }
  const absl::string_view header_text = TextOf(bytes.subspan(kLengthBytes, header_bytes));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  if (header_text.empty() || header_text.front() != '{') {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": header: ", Quoted(header_text.substr(0, 1)), " at byte 8 is not {"));
  }
  BB_ASSIGN_OR_RETURN(const json header, ParseJson(header_text, absl::StrCat(path, ": header")));

  ParsedFile file;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      BB_RETURN_IF_ERROR(CheckMetadata(entry, path));
      for (const auto& [key, value] : entry.items()) file.metadata[key] = value;
      continue;
    }
    Extent extent{};
    BB_ASSIGN_OR_RETURN(
        ArchiveTensor tensor,
        ParseTensor(
            entry, data, types, absl::StrCat(path, ": tensor ", Quoted(name), ": "), &extent));
    tensor.file = path;
    const auto it = file.tensors.emplace(name, std::move(tensor)).first;
    extent.name = &it->first;
    extents.push_back(extent);
  }
  BB_RETURN_IF_ERROR(CheckCoverage(std::move(extents), static_cast<int64_t>(data.size()), path));
  return file;
}

}  // namespace

absl::StatusOr<std::map<std::string, ArchiveTensor>> ParseSafetensors(
    std::span<const std::byte> bytes, const std::string& path) {
  BB_ASSIGN_OR_RETURN(ParsedFile file, ParseFile(bytes, kFloatTypes, path));
  return std::move(file.tensors);
}

absl::StatusOr<ByteTensors> ParseByteTensors(std::span<const std::byte> bytes,
                                             const std::string& path) {
  BB_ASSIGN_OR_RETURN(ParsedFile file, ParseFile(bytes, kByteTypes, path));
  ByteTensors result;
  result.metadata = std::move(file.metadata);
  for (const auto& [name, tensor] : file.tensors) {
    const auto size = static_cast<size_t>(tensor.view.rows * tensor.view.cols);
    if (tensor.view.format == kFormatF32) {
      std::vector<float>& values = result.floats[name];
      values.resize(size);
      if (size > 0) std::memcpy(values.data(), tensor.view.data, size * sizeof(float));
    } else {
      result.tensors[name] = {tensor.view.data, size};
    }
  }
  return result;
}

namespace {

absl::Status OpenShards(SafetensorsArchive* archive) {
  const std::string& index_path = archive->path;
  const std::string folder = index_path.substr(0, index_path.rfind('/'));
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(index_path, kMaxIndexBytes));
  BB_ASSIGN_OR_RETURN(const json index, ParseJson(text, index_path));
  const auto weight_map = index.find("weight_map");
  if (!index.is_object() || weight_map == index.end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": weight_map: is not an object"));
  }

  // File name -> its tensors, as the index has it.
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, file] : weight_map->items()) {
    const std::string where = absl::StrCat(index_path, ": weight_map: tensor ", Quoted(name), ": ");
    if (!file.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ValueText(file), " is not a file name"));
    }
    const std::string& shard = file.get_ref<const std::string&>();
    const bool plain = !shard.empty() && shard != "." && shard.find("..") == std::string::npos &&
                       std::none_of(shard.begin(), shard.end(), [](unsigned char c) {
                         return c == '/' || c == '\\' || c < ' ';
                       });
    if (!plain) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, Quoted(shard), " is not the name of a file in the model's folder"));
    }
    shards[shard].push_back(name);
  }

  for (const auto& [shard, names] : shards) {
    const std::string path = absl::StrCat(folder, "/", shard);
    BB_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    BB_ASSIGN_OR_RETURN(auto tensors, ParseSafetensors(file.bytes(), path));
    for (const std::string& name : names) {
      if (!tensors.contains(name)) {
        return absl::InvalidArgumentError(absl::StrCat(index_path,
                                                       ": weight_map: tensor ",
                                                       Quoted(name),
                                                       ": ",
                                                       Quoted(shard),
                                                       " does not hold it"));
      }
    }
    for (auto& [name, tensor] : tensors) {
      const auto it = weight_map->find(name);
      if (it == weight_map->end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ": tensor ", Quoted(name), ": is not in model.safetensors.index.json"));
      }
      if (*it != shard) {
        return absl::InvalidArgumentError(
            absl::StrCat(path,
                         ": tensor ",
                         Quoted(name),
                         ": model.safetensors.index.json places it in ",
                         ValueText(*it)));
      }
      archive->tensors.emplace(name, std::move(tensor));
    }
    archive->files.push_back(std::move(file));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsArchive> SafetensorsArchive::Open(const std::string& folder) {
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  std::error_code error;
  SafetensorsArchive archive;
  if (std::filesystem::exists(single, error)) {
    archive.path = single;
    BB_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(single));
    BB_ASSIGN_OR_RETURN(archive.tensors, ParseSafetensors(file.bytes(), single));
    archive.files.push_back(std::move(file));
  } else if (std::filesystem::exists(index, error)) {
    archive.path = index;
    BB_RETURN_IF_ERROR(OpenShards(&archive));
  } else {
    return absl::NotFoundError(
        absl::StrCat(folder, ": holds neither model.safetensors nor model.safetensors.index.json"));
  }
  return archive;
}

}  // namespace bitbudget
