#ifndef BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_H_
#define BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// The types of metadata values, with the numbers that files use.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// One metadata value as it stands in the file.
struct GgufValue {
  GgufType type = GgufType::kU32;
  GgufType element = GgufType::kU32;  // of an array
  uint64_t count = 1;                 // items of an array
  // Little-endian: a scalar, a string's text, or an array's items one after the other (strings
  // with their lengths).
  std::span<const std::byte> bytes;

  // The value, where it is of that kind and fits: Integer of any integer type, Number of those and
  // floats; the plural forms of arrays.
  std::optional<int64_t> Integer() const;
  std::optional<double> Number() const;
  std::optional<bool> Bool() const;
  std::optional<absl::string_view> Text() const;
  std::optional<std::vector<int64_t>> Integers() const;
  std::optional<std::vector<double>> Numbers() const;
  std::optional<std::vector<absl::string_view>> Texts() const;

  // For messages: the value, long ones cut, arrays as their type and count.
  std::string Describe() const;
};

struct GgufEntry {
  std::string key;
  GgufValue value;
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // outermost first, as everywhere here: [rows, cols] (ne reversed)
  Format format;
  std::span<const std::byte> data;
};

// One GGUF file, version 2 or 3 (docs/models.md). Everything points into the bytes it was parsed
// from.
struct GgufFile {
  std::string path;
  std::vector<GgufEntry> entries;
  std::vector<GgufTensor> tensors;
  std::span<const std::byte> metadata;  // the bytes of all entries

  const GgufValue* Find(absl::string_view key) const;  // null: there is none
};

// Reads the container; `path` is named in messages. Refuses (kInvalidArgument, or kUnimplemented
// for what other programs can read; one line that names file, key or tensor, byte offset and value)
// what llama.cpp's reader refuses and what cannot be read safely: another magic or version, counts
// and lengths beyond the file, names that stand twice, unknown types, an alignment that is no power
// of two, rows that are no whole blocks, and tensors that do not lie one after the other. Memory is
// bounded by a small multiple of the file's size.
absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> bytes, const std::string& path);

// The format of a tensor type by its number in files; none when this build does not know it.
std::optional<Format> FormatOfGgmlType(uint32_t type);
// The number of a float or block format; none for formats that GGUF does not have.
std::optional<uint32_t> GgmlTypeOf(const Format& format);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_H_
