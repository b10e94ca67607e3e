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

// Bytes of one value of a type of fixed size; 0 for strings, arrays and unknown numbers.
uint64_t GgufScalarBytes(GgufType type);

// One metadata value as the file holds it.
struct GgufValue {
  GgufType type = GgufType::kU32;
  GgufType element = GgufType::kU32;  // of an array
  uint64_t count = 1;                 // items of an array
  // Little-endian: a scalar, a string's text, or an array's items one after the other (strings
  // with their lengths).
  std::span<const std::byte> bytes;

  // The value; empty when it is of another kind or does not fit. Integer() is of any integer type,
  // Number() of those and floats, the plural forms are of arrays.
  std::optional<int64_t> Integer() const;
  std::optional<double> Number() const;
  std::optional<bool> Bool() const;
  std::optional<absl::string_view> Text() const;
  std::optional<std::vector<int64_t>> Integers() const;
  std::optional<std::vector<double>> Numbers() const;
  std::optional<std::vector<absl::string_view>> Texts() const;

  // For messages: the value; long ones are cut, arrays are shown as type and count.
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

// One GGUF file, version 2 or 3 (docs/models.md). Points into the bytes that it was parsed from.
struct GgufFile {
  std::string path;
  std::vector<GgufEntry> entries;
  std::vector<GgufTensor> tensors;
  std::span<const std::byte> metadata;  // the bytes of all entries

  const GgufValue* Find(absl::string_view key) const;  // null when the file has no such key
};

// Reads the container; `path` is named in messages. Refuses what llama.cpp's reader refuses and
// what cannot be read safely: another magic or version, counts and lengths beyond the file,
// duplicate keys or names, unknown types, an alignment that is no power of two, rows that are not
// whole blocks, tensors that do not follow one another without gaps. Errors: kInvalidArgument, or
// kUnimplemented for what other programs can read; one line with file, key or tensor, byte offset
// and value. Memory is bounded by a small multiple of the file's size.
absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> bytes, const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_H_
