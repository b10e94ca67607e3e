#include "runtime/model/checkpoint/gguf_writer.h"

#include <glog/logging.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/checkpoint/ggml_types.h"

namespace bitbudget {
namespace {

constexpr uint32_t kVersion = 3;
constexpr int64_t kAlignment = 32;

int64_t Padded(int64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

template <typename T>
void Append(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendText(absl::string_view text, std::string* out) {
  Append(static_cast<uint64_t>(text.size()), out);
  out->append(text.data(), text.size());
}

template <typename T>
void AppendAll(std::span<const T> values, std::string* out) {
  if (!values.empty()) {
    out->append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
}

}  // namespace

void GgufWriter::Key(absl::string_view key, GgufType type) {
  AppendText(key, &entries_);
  Append(static_cast<uint32_t>(type), &entries_);
  ++entry_count_;
}

void GgufWriter::ArrayKey(absl::string_view key, GgufType element, uint64_t count) {
  Key(key, GgufType::kArray);
  Append(static_cast<uint32_t>(element), &entries_);
  Append(count, &entries_);
}

void GgufWriter::AddText(absl::string_view key, absl::string_view value) {
  Key(key, GgufType::kString);
  AppendText(value, &entries_);
}

void GgufWriter::AddU32(absl::string_view key, uint32_t value) {
  Key(key, GgufType::kU32);
  Append(value, &entries_);
}

void GgufWriter::AddF32(absl::string_view key, float value) {
  Key(key, GgufType::kF32);
  Append(value, &entries_);
}

void GgufWriter::AddBool(absl::string_view key, bool value) {
  Key(key, GgufType::kBool);
  Append(static_cast<uint8_t>(value), &entries_);
}

void GgufWriter::AddTexts(absl::string_view key, std::span<const std::string> values) {
  ArrayKey(key, GgufType::kString, values.size());
  for (const std::string& value : values) AppendText(value, &entries_);
}

void GgufWriter::AddF32s(absl::string_view key, std::span<const float> values) {
  ArrayKey(key, GgufType::kF32, values.size());
  AppendAll(values, &entries_);
}

void GgufWriter::AddI32s(absl::string_view key, std::span<const int32_t> values) {
  ArrayKey(key, GgufType::kI32, values.size());
  AppendAll(values, &entries_);
}

void GgufWriter::AddValue(absl::string_view key, const GgufValue& value) {
  if (value.type == GgufType::kArray) {
    ArrayKey(key, value.element, value.count);
  } else {
    Key(key, value.type);
    if (value.type == GgufType::kString) {
      Append(static_cast<uint64_t>(value.bytes.size()), &entries_);
    }
  }
  AppendAll(value.bytes, &entries_);
}

void GgufWriter::AddTensor(const std::string& name,
                           const std::vector<int64_t>& shape,
                           const Format& format) {
  CHECK(!name.empty() && name.size() < 64) << name;
  const std::optional<uint32_t> type = GgmlTypeOf(format);
  CHECK(type.has_value()) << name << ": GGUF has no " << format.Name();
  AppendText(name, &infos_);
  Append(static_cast<uint32_t>(shape.size()), &infos_);
  int64_t rows = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    Append(shape[d], &infos_);
    if (d + 1 < shape.size()) rows *= shape[d];
  }
  Append(*type, &infos_);
  Append(static_cast<uint64_t>(data_bytes_), &infos_);
  sizes_.push_back(SizeBytes(format, rows, shape.back()));
  data_bytes_ += Padded(sizes_.back());
}

std::string GgufWriter::Header() const {
  std::string header = "GGUF";
  Append(kVersion, &header);
  Append(static_cast<uint64_t>(sizes_.size()), &header);
  Append(entry_count_, &header);
  header += entries_;
  header += infos_;
  header.resize(Padded(static_cast<int64_t>(header.size())), '\0');
  return header;
}

int64_t GgufWriter::FileBytes() const {
  return static_cast<int64_t>(Header().size()) + data_bytes_;
}

absl::Status GgufWriter::Write(
    const std::string& path,
    const std::function<absl::Status(int tensor, std::vector<uint8_t>* bytes)>& produce) const {
  BB_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  BB_RETURN_IF_ERROR(file.Write(Header()));
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    BB_RETURN_IF_ERROR(produce(static_cast<int>(i), &bytes));
    CHECK_EQ(static_cast<int64_t>(bytes.size()), sizes_[i]) << "tensor " << i;
    bytes.resize(Padded(sizes_[i]), 0);
    BB_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  return file.Commit();
}

}  // namespace bitbudget
