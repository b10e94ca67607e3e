#include "runtime/quantize/float_codes.h"

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/sparse_codes.h"
#include "runtime/tensor/bit_packing.h"

namespace bitbudget {
namespace {

// The weights in the 16 or 32 bits that a float format stores.
absl::Status RoundFloats(std::span<const float> weights,
                         const Format& format,
                         int64_t row,
                         std::span<uint32_t> out) {
  if (format.kind == FormatKind::kF32) {
    for (size_t i = 0; i < weights.size(); ++i) out[i] = std::bit_cast<uint32_t>(weights[i]);
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
    out[i] = bits;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EncodeFloats(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding) {
  const Format& format = encoding->format;
  if (!format.IsSparse()) {
    const int64_t row_bytes = encoding->cols * (format.bits / 8);
    return ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
      std::vector<uint32_t> bits(values.size());
      BB_RETURN_IF_ERROR(RoundFloats(values, format, row, bits));
      PackBits<uint32_t>(bits, format.bits, encoding->bytes.data() + row * row_bytes);
      return absl::OkStatus();
    });
  }
  const auto code_row = [&](std::span<const float> values,
                            int64_t row,
                            std::span<const uint8_t> mask,
                            std::span<uint32_t> codes) {
    // Pruned weights need not fit the format.
    std::vector<float> masked(values.begin(), values.end());
    for (size_t i = 0; i < masked.size(); ++i) masked[i] *= mask[i];
    std::vector<uint32_t> bits(masked.size());
    BB_RETURN_IF_ERROR(RoundFloats(masked, format, row, bits));
    size_t next = 0;
    for (size_t i = 0; i < masked.size(); ++i) {
      if (mask[i] != 0) codes[next++] = bits[i];
    }
    return absl::OkStatus();
  };
  return EncodeSparse(weights, stats, threads, encoding, code_row);
}

}  // namespace bitbudget
