#include "planner/output/decoded_tensors.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

const char* SafetensorsType(const Format& format) {
  if (format == kFormatBF16) return "BF16";
  if (format == kFormatF16) return "F16";
  return "F32";
}

// Values in a float format, appended. Infinity where f16 is too narrow is an error.
absl::Status AppendFloats(std::span<const float> values,
                          const Format& type,
                          const std::string& name,
                          std::vector<uint8_t>* out) {
  const size_t at = out->size();
  if (type == kFormatF32) {
    out->resize(at + values.size_bytes());
    std::memcpy(out->data() + at, values.data(), values.size_bytes());
    return absl::OkStatus();
  }
  out->resize(at + 2 * values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = type == kFormatF16 ? FloatToHalf(values[i]) : FloatToBFloat16(values[i]);
    if (type == kFormatF16 && (bits & 0x7fff) == 0x7c00) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", values[i], " is beyond the largest f16; write bf16 or f32"));
    }
    std::memcpy(out->data() + at + 2 * i, &bits, sizeof(bits));
  }
  return absl::OkStatus();
}

}  // namespace

OutputTensor DecodedTensor(const std::string& name,
                           const StoredMatrix& matrix,
                           const Format& type,
                           const FolderWeights& source) {
  const auto produce = [&source, name, matrix, type]() -> absl::StatusOr<std::vector<uint8_t>> {
    std::vector<uint8_t> bytes;
    bytes.reserve(SizeBytes(type, matrix.rows, matrix.cols));
    std::vector<float> row(matrix.cols);
    for (const ComponentId id : matrix.components) {
      BB_ASSIGN_OR_RETURN(const Encoding encoding,
                          source.encoder.Encode(id, source.assignment[id], source.threads));
      for (int64_t r = 0; r < encoding.rows; ++r) {
        DecodeReferenceRow(encoding, r, row);
        BB_RETURN_IF_ERROR(AppendFloats(row, type, name, &bytes));
      }
    }
    return bytes;
  };
  return {name,
          SafetensorsType(type),
          {matrix.rows, matrix.cols},
          SizeBytes(type, matrix.rows, matrix.cols),
          produce};
}

OutputTensor ValuesTensor(const std::string& name,
                          std::vector<int64_t> shape,
                          std::span<const float> values,
                          const Format& type) {
  const auto produce = [name, values, type]() -> absl::StatusOr<std::vector<uint8_t>> {
    std::vector<uint8_t> bytes;
    BB_RETURN_IF_ERROR(AppendFloats(values, type, name, &bytes));
    return bytes;
  };
  return {name,
          SafetensorsType(type),
          std::move(shape),
          SizeBytes(type, 1, static_cast<int64_t>(values.size())),
          produce};
}

OutputTensor StoredTensor(const std::string& name,
                          std::vector<int64_t> shape,
                          const TensorView& view,
                          const Format& type) {
  const auto produce = [name, view, type]() -> absl::StatusOr<std::vector<uint8_t>> {
    const auto* stored = reinterpret_cast<const uint8_t*>(view.data);
    if (type == view.format) return std::vector<uint8_t>(stored, stored + view.bytes());
    std::vector<uint8_t> bytes;
    std::vector<float> row(view.cols);
    for (int64_t r = 0; r < view.rows; ++r) {
      view.ReadRow(r, row);
      BB_RETURN_IF_ERROR(AppendFloats(row, type, name, &bytes));
    }
    return bytes;
  };
  return {name,
          SafetensorsType(type),
          std::move(shape),
          SizeBytes(type, view.rows, view.cols),
          produce};
}

}  // namespace bitbudget
