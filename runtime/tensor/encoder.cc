#include "runtime/tensor/encoder.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/integer_grid.h"

namespace bitbudget {
namespace {

void Store16(uint16_t value, uint8_t* bytes) { std::memcpy(bytes, &value, sizeof(value)); }

// Codes of `bits` bits in order, low nibble first; the high nibble of an odd end is 0.
void PackCodes(std::span<const uint8_t> codes, int bits, uint8_t* out) {
  if (bits == 8) {
    std::copy(codes.begin(), codes.end(), out);
    return;
  }
  const size_t pairs = codes.size() / 2;
  for (size_t i = 0; i < pairs; ++i) {
    out[i] = static_cast<uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
  }
  if (codes.size() % 2 != 0) out[pairs] = codes.back();
}

absl::Status CheckFinite(std::span<const float> weights, int64_t row) {
  const int64_t column = ViewOf(weights, 1, weights.size()).FirstNonFinite();
  if (column < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("weight at row ",
                                                 row,
                                                 ", column ",
                                                 column,
                                                 " is ",
                                                 weights[column],
                                                 ", not a finite number"));
}

absl::Status EncodeFloatRow(std::span<const float> weights,
                            const Format& format,
                            int64_t row,
                            uint8_t* out) {
  if (format.kind == FormatKind::kF32) {
    if (!weights.empty()) std::memcpy(out, weights.data(), weights.size_bytes());
    return absl::OkStatus();
  }
  const bool half = format.kind == FormatKind::kF16;
  const uint16_t infinity = half ? 0x7c00 : 0x7f80;
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint16_t bits = half ? FloatToHalf(weights[i]) : FloatToBFloat16(weights[i]);
    if ((bits & 0x7fff) == infinity) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight at row ",
                       row,
                       ", column ",
                       i,
                       " is ",
                       weights[i],
                       ", beyond the largest ",
                       half ? "f16 (65504); use bf16 or f32" : "bf16 (3.39e38); use f32"));
    }
    Store16(bits, out + 2 * i);
  }
  return absl::OkStatus();
}

absl::Status ScaleOverflow(std::span<const float> weights,
                           const Format& format,
                           int64_t row,
                           int64_t column) {
  float largest = 0.0f;
  for (const float weight : weights) largest = std::max(largest, std::abs(weight));
  return absl::InvalidArgumentError(absl::StrCat("row ",
                                                 row,
                                                 ", columns ",
                                                 column,
                                                 " to ",
                                                 column + static_cast<int64_t>(weights.size()) - 1,
                                                 ": weights up to ",
                                                 largest,
                                                 " need a scale beyond the largest f16 (65504) in ",
                                                 format.Name(),
                                                 "; use bf16 or f32"));
}

}  // namespace

absl::StatusOr<Encoding> Encoder::Encode(const TensorView& weights, const Format& format) const {
  CHECK(weights.rows >= 0 && weights.cols >= 0) << weights.rows << " x " << weights.cols;
  CHECK(weights.data != nullptr || weights.size() == 0) << "a view of nothing";
  if (!IsSupported(format)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot encode format ", format.Name()));
  }
  const int64_t cols = weights.cols;
  const EncodingLayout layout(format, weights.rows, cols);
  Encoding encoding{format, weights.rows, cols, std::vector<uint8_t>(layout.total_bytes)};
  if (encoding.bytes.empty()) return encoding;
  uint8_t* const bytes = encoding.bytes.data();

  std::vector<float> values(cols);
  std::vector<uint8_t> codes(format.IsInteger() ? cols : 0);
  std::vector<uint8_t> zeros(layout.groups);
  const int64_t group_size = format.GroupSize(cols);
  for (int64_t row = 0; row < weights.rows; ++row) {
    weights.ReadRow(row, values);
    BB_RETURN_IF_ERROR(CheckFinite(values, row));
    uint8_t* const row_bytes = bytes + row * layout.code_row_bytes;
    if (!format.IsInteger()) {
      BB_RETURN_IF_ERROR(EncodeFloatRow(values, format, row, row_bytes));
      continue;
    }
    for (int64_t group = 0; group < layout.groups; ++group) {
      const int64_t begin = group * group_size;
      const int64_t count = std::min(group_size, cols - begin);
      const std::span<const float> group_values = std::span(values).subspan(begin, count);
      float scale = 0.0f;
      int zero = 0;
      EncodeGroup(group_values, format, std::span(codes).subspan(begin, count), &scale, &zero);
      if (!std::isfinite(scale)) return ScaleOverflow(group_values, format, row, begin);
      const uint16_t stored = FloatToHalf(scale);
      CHECK_EQ(HalfToFloat(stored), scale) << name() << " chose codes for a scale that is not f16";
      CHECK(zero >= 0 && zero < 1 << format.bits) << name() << " chose zero point " << zero;
      CHECK(format.zero_point || zero == SymmetricZero(format)) << zero;
      Store16(stored, bytes + layout.scales_offset + 2 * (row * layout.groups + group));
      zeros[group] = static_cast<uint8_t>(zero);
    }
    PackCodes(codes, format.bits, row_bytes);
    if (format.zero_point) {
      PackCodes(zeros, format.bits, bytes + layout.zeros_offset + row * layout.zero_row_bytes);
    }
  }
  return encoding;
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name) {
  if (name == "rtn") return MakeRtnEncoder();
  if (name == "clip") return MakeClipEncoder();
  return absl::InvalidArgumentError(
      absl::StrCat("unknown encoder \"", absl::CEscape(name), "\"; known: rtn clip"));
}

}  // namespace bitbudget
