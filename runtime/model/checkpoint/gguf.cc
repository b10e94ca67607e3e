#include "runtime/model/checkpoint/gguf.h"

#include <bit>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/checkpoint/ggml_types.h"

namespace bitbudget {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kDefaultAlignment = 32;
constexpr size_t kMaxTensorName = 63;  // as llama.cpp's reader
constexpr uint32_t kMaxDimensions = 4;

template <typename T>
T Load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

absl::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads forward through the file; every read says what it was reading when the file ends.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  absl::Status Error(uint64_t at, absl::string_view what, absl::string_view problem) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": byte ", at, ": ", what, " ", problem));
  }

  absl::StatusOr<std::span<const std::byte>> Take(uint64_t count, absl::string_view what) {
    if (count > remaining()) {
      return Error(
          position_,
          what,
          absl::StrCat(
              "of ", count, " bytes reaches beyond the end of the file at ", bytes_.size()));
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <typename T>
  absl::StatusOr<T> Read(absl::string_view what) {
    BB_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Take(sizeof(T), what));
    return Load<T>(bytes.data());
  }

  absl::StatusOr<std::span<const std::byte>> ReadText(absl::string_view what) {
    BB_ASSIGN_OR_RETURN(const auto length, Read<uint64_t>(what));
    return Take(length, what);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t position_ = 0;
};

absl::Status ReadValue(const std::string& key, Cursor* cursor, GgufValue* value) {
  const std::string what = absl::StrCat("value of ", Quoted(key));
  const auto read_type = [&](GgufType* type) -> absl::Status {
    const uint64_t at = cursor->position();
    BB_ASSIGN_OR_RETURN(const auto number, cursor->Read<uint32_t>(what));
    if (number > static_cast<uint32_t>(GgufType::kF64)) {
      return cursor->Error(at, what, absl::StrCat("has unknown type ", number));
    }
    *type = static_cast<GgufType>(number);
    return absl::OkStatus();
  };
  BB_RETURN_IF_ERROR(read_type(&value->type));
  if (value->type == GgufType::kString) {
    BB_ASSIGN_OR_RETURN(value->bytes, cursor->ReadText(what));
    return absl::OkStatus();
  }
  if (value->type != GgufType::kArray) {
    BB_ASSIGN_OR_RETURN(value->bytes, cursor->Take(GgufScalarBytes(value->type), what));
    return absl::OkStatus();
  }

  BB_RETURN_IF_ERROR(read_type(&value->element));
  const uint64_t at = cursor->position();
  if (value->element == GgufType::kArray) {
    return cursor->Error(at, what, "is an array of arrays, which is not supported");
  }
  BB_ASSIGN_OR_RETURN(value->count, cursor->Read<uint64_t>(what));
  const uint64_t least = value->element == GgufType::kString ? 8 : GgufScalarBytes(value->element);
  if (value->count > cursor->remaining() / least) {
    return cursor->Error(
        at, what, absl::StrCat("has ", value->count, " items, more than the file has room for"));
  }
  if (value->element != GgufType::kString) {
    BB_ASSIGN_OR_RETURN(value->bytes, cursor->Take(value->count * least, what));
    return absl::OkStatus();
  }
  Cursor items = *cursor;
  for (uint64_t i = 0; i < value->count; ++i) {
    BB_RETURN_IF_ERROR(items.ReadText(absl::StrCat("item ", i, " of ", Quoted(key))).status());
  }
  BB_ASSIGN_OR_RETURN(value->bytes, cursor->Take(items.position() - cursor->position(), what));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ReadAlignment(const GgufFile& file) {
  const GgufValue* value = file.Find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  if (value->type == GgufType::kU32) {
    const auto alignment = Load<uint32_t>(value->bytes.data());
    if (std::has_single_bit(alignment)) return alignment;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      file.path, ": general.alignment: ", value->Describe(), " is not a power of two (u32)"));
}

absl::StatusOr<Format> ReadFormat(uint32_t number, const std::string& where) {
  if (const std::optional<Format> format = FormatOfGgmlType(number)) return *format;
  if (const char* name = GgmlTypeName(number); name != nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(where, "type ", name, " (", number, ") is not supported"));
  }
  return absl::InvalidArgumentError(absl::StrCat(where, "type ", number, " is unknown"));
}

// Name, shape and type of one tensor; `offset` is relative to the data.
absl::Status ReadTensorInfo(const std::string& path,
                            Cursor* cursor,
                            GgufTensor* tensor,
                            uint64_t* offset) {
  const uint64_t at = cursor->position();
  BB_ASSIGN_OR_RETURN(const auto name, cursor->ReadText("tensor name"));
  if (name.empty() || name.size() > kMaxTensorName) {
    return cursor->Error(
        at, "tensor name", absl::StrCat("of ", name.size(), " bytes is not 1 to 63 bytes long"));
  }
  tensor->name = std::string(TextOf(name));
  const std::string where = absl::StrCat(path, ": tensor ", Quoted(tensor->name), ": ");
  BB_ASSIGN_OR_RETURN(const auto dimensions, cursor->Read<uint32_t>("number of dimensions"));
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, dimensions, " dimensions are not supported (1 to 4 are)"));
  }
  int64_t items = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    BB_ASSIGN_OR_RETURN(const auto size, cursor->Read<int64_t>("tensor shape"));
    if (size < 1 || __builtin_mul_overflow(items, size, &items) || items > INT64_MAX / 64) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "size ", size, " of dimension ", i, " is not possible"));
    }
    tensor->shape.insert(tensor->shape.begin(), size);
  }
  BB_ASSIGN_OR_RETURN(const auto type, cursor->Read<uint32_t>("tensor type"));
  BB_ASSIGN_OR_RETURN(tensor->format, ReadFormat(type, where));
  if (!Fits(tensor->format, tensor->shape.back())) {
    return absl::InvalidArgumentError(absl::StrCat(where,
                                                   "rows of ",
                                                   tensor->shape.back(),
                                                   " are not whole blocks of ",
                                                   tensor->format.Name()));
  }
  BB_ASSIGN_OR_RETURN(*offset, cursor->Read<uint64_t>("tensor offset"));
  return absl::OkStatus();
}

// Gives every tensor its bytes.
absl::Status PlaceTensors(std::span<const std::byte> bytes,
                          uint64_t data_begin,
                          uint64_t alignment,
                          const std::vector<uint64_t>& offsets,
                          GgufFile* file) {
  uint64_t expected = 0;
  for (size_t i = 0; i < file->tensors.size(); ++i) {
    GgufTensor& tensor = file->tensors[i];
    const std::string where = absl::StrCat(file->path, ": tensor ", Quoted(tensor.name), ": ");
    if (offsets[i] != expected) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, "offset ", offsets[i], " is not ", expected, ", where the one before it ends"));
    }
    int64_t rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) rows *= tensor.shape[d];
    const auto size = static_cast<uint64_t>(SizeBytes(tensor.format, rows, tensor.shape.back()));
    // Both are below 2^61, as items are below 2^57.
    if (data_begin > bytes.size() || offsets[i] + size > bytes.size() - data_begin) {
      return absl::InvalidArgumentError(absl::StrCat(where,
                                                     size,
                                                     " bytes at byte ",
                                                     data_begin + offsets[i],
                                                     " reach beyond the end of the file at ",
                                                     bytes.size()));
    }
    tensor.data = bytes.subspan(data_begin + offsets[i], size);
    expected = (offsets[i] + size + alignment - 1) / alignment * alignment;
  }
  return absl::OkStatus();
}

}  // namespace

const GgufValue* GgufFile::Find(absl::string_view key) const {
  for (const GgufEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> bytes, const std::string& path) {
  GgufFile file;
  file.path = path;
  Cursor cursor(bytes, path);
  BB_ASSIGN_OR_RETURN(const auto magic, cursor.Read<uint32_t>("magic"));
  if (magic != kMagic) return cursor.Error(0, "magic", "is not GGUF");
  BB_ASSIGN_OR_RETURN(const auto version, cursor.Read<uint32_t>("version"));
  if (version != 2 && version != 3) {
    const bool swapped = version != 0 && (version & 0xffff) == 0;
    return cursor.Error(4,
                        "version",
                        swapped ? std::string("is big-endian, which is not supported")
                                : absl::StrCat(version, " is not supported (2 and 3 are)"));
  }
  BB_ASSIGN_OR_RETURN(const auto tensor_count, cursor.Read<uint64_t>("tensor count"));
  BB_ASSIGN_OR_RETURN(const auto entry_count, cursor.Read<uint64_t>("metadata count"));
  // The least that an entry and a tensor take, so that counts are bounded by the file's size.
  constexpr uint64_t kEntryBytes = 8 + 4 + 1;
  constexpr uint64_t kTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
  if (tensor_count > cursor.remaining() / kTensorBytes) {
    return cursor.Error(
        8, "tensor count", absl::StrCat(tensor_count, " is more than the file has room for"));
  }
  if (entry_count > cursor.remaining() / kEntryBytes) {
    return cursor.Error(
        16, "metadata count", absl::StrCat(entry_count, " is more than the file has room for"));
  }

  const uint64_t metadata_begin = cursor.position();
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < entry_count; ++i) {
    const uint64_t at = cursor.position();
    BB_ASSIGN_OR_RETURN(const auto key, cursor.ReadText("metadata key"));
    GgufEntry entry{std::string(TextOf(key)), {}};
    if (!names.insert(entry.key).second) {
      return cursor.Error(at, "duplicate metadata key", Quoted(entry.key));
    }
    BB_RETURN_IF_ERROR(ReadValue(entry.key, &cursor, &entry.value));
    file.entries.push_back(std::move(entry));
  }
  file.metadata = bytes.subspan(metadata_begin, cursor.position() - metadata_begin);

  BB_ASSIGN_OR_RETURN(const uint64_t alignment, ReadAlignment(file));
  std::vector<uint64_t> offsets(tensor_count);
  names.clear();
  for (uint64_t i = 0; i < tensor_count; ++i) {
    GgufTensor tensor;
    BB_RETURN_IF_ERROR(ReadTensorInfo(path, &cursor, &tensor, &offsets[i]));
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", Quoted(tensor.name), ": duplicate name"));
    }
    file.tensors.push_back(std::move(tensor));
  }
  const uint64_t data_begin = (cursor.position() + alignment - 1) / alignment * alignment;
  BB_RETURN_IF_ERROR(PlaceTensors(bytes, data_begin, alignment, offsets, &file));
  return file;
}

}  // namespace bitbudget
