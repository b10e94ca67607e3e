// The values of a GGUF file's metadata.

#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/model/checkpoint/gguf.h"

namespace bitbudget {
namespace {

template <typename T>
T Load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

absl::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<int64_t> LoadInteger(GgufType type, const std::byte* bytes) {
  switch (type) {
    case GgufType::kU8:
      return Load<uint8_t>(bytes);
    case GgufType::kI8:
      return Load<int8_t>(bytes);
    case GgufType::kU16:
      return Load<uint16_t>(bytes);
    case GgufType::kI16:
      return Load<int16_t>(bytes);
    case GgufType::kU32:
      return Load<uint32_t>(bytes);
    case GgufType::kI32:
      return Load<int32_t>(bytes);
    case GgufType::kU64: {
      const auto value = Load<uint64_t>(bytes);
      if (value > INT64_MAX) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    case GgufType::kI64:
      return Load<int64_t>(bytes);
    default:
      return std::nullopt;
  }
}

std::optional<double> LoadNumber(GgufType type, const std::byte* bytes) {
  if (type == GgufType::kF32) return Load<float>(bytes);
  if (type == GgufType::kF64) return Load<double>(bytes);
  const std::optional<int64_t> integer = LoadInteger(type, bytes);
  if (!integer.has_value()) return std::nullopt;
  return static_cast<double>(*integer);
}

const char* TypeName(GgufType type) {
  constexpr const char* kNames[] = {"u8",
                                    "i8",
                                    "u16",
                                    "i16",
                                    "u32",
                                    "i32",
                                    "f32",
                                    "bool",
                                    "string",
                                    "array",
                                    "u64",
                                    "i64",
                                    "f64"};
  const auto index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

// The items of an array of scalars; none when `load` has no value for one of them.
template <typename T, typename Loader>
std::optional<std::vector<T>> LoadItems(const GgufValue& value, Loader load) {
  if (value.type != GgufType::kArray || value.element == GgufType::kString) return std::nullopt;
  const uint64_t size = GgufScalarBytes(value.element);
  std::vector<T> items;
  items.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const std::optional<T> item = load(value.element, value.bytes.data() + i * size);
    if (!item.has_value()) return std::nullopt;
    items.push_back(*item);
  }
  return items;
}

bool IsScalar(GgufType type) { return GgufScalarBytes(type) != 0; }

}  // namespace

uint64_t GgufScalarBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::optional<int64_t> GgufValue::Integer() const {
  return IsScalar(type) ? LoadInteger(type, bytes.data()) : std::nullopt;
}

std::optional<double> GgufValue::Number() const {
  return IsScalar(type) ? LoadNumber(type, bytes.data()) : std::nullopt;
}

std::optional<bool> GgufValue::Bool() const {
  if (type != GgufType::kBool) return std::nullopt;
  return bytes.front() != std::byte{0};
}

std::optional<absl::string_view> GgufValue::Text() const {
  if (type != GgufType::kString) return std::nullopt;
  return TextOf(bytes);
}

std::optional<std::vector<int64_t>> GgufValue::Integers() const {
  return LoadItems<int64_t>(*this, LoadInteger);
}

std::optional<std::vector<double>> GgufValue::Numbers() const {
  return LoadItems<double>(*this, LoadNumber);
}

std::optional<std::vector<absl::string_view>> GgufValue::Texts() const {
  if (type != GgufType::kArray || element != GgufType::kString) return std::nullopt;
  std::vector<absl::string_view> texts;
  texts.reserve(count);
  const std::byte* at = bytes.data();
  for (uint64_t i = 0; i < count; ++i) {
    const auto length = Load<uint64_t>(at);
    texts.push_back(TextOf({at + sizeof(length), length}));
    at += sizeof(length) + length;
  }
  return texts;
}

std::string GgufValue::Describe() const {
  if (const auto text = Text()) return Quoted(*text);
  if (const auto boolean = Bool()) return *boolean ? "true" : "false";
  if (type == GgufType::kArray) return absl::StrCat("[", count, " x ", TypeName(element), "]");
  if (const auto integer = Integer()) return absl::StrCat(*integer, " (", TypeName(type), ")");
  if (const auto number = Number()) return absl::StrCat(*number, " (", TypeName(type), ")");
  return absl::StrCat("a ", TypeName(type), " above 2^63");
}

}  // namespace bitbudget
