#include "runtime/quantize/groupwise_encoder.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/sparse_codes.h"
#include "runtime/tensor/bit_packing.h"

namespace bitbudget {
namespace {

// The values where the mask is 1.
std::vector<float> Kept(std::span<const float> values, std::span<const uint8_t> mask) {
  std::vector<float> kept;
  for (size_t i = 0; i < values.size(); ++i) {
    if (mask[i] != 0) kept.push_back(values[i]);
  }
  return kept;
}

std::span<const float> Part(std::span<const float> values, int64_t begin, int64_t count) {
  return values.empty() ? values : values.subspan(begin, count);
}

// Moments that are all 0 would leave nothing to minimise: they count as equal ones.
std::span<const float> UsableImportance(std::span<const float> importance) {
  const bool usable =
      std::any_of(importance.begin(), importance.end(), [](float moment) { return moment > 0.0f; });
  return usable ? importance : std::span<const float>();
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

absl::Status GroupwiseEncoder::EncodeMatrix(const TensorView& weights,
                                            const InputStats& stats,
                                            int threads,
                                            Encoding* encoding) const {
  const std::span<const float> importance =
      needs() == StatsNeed::kNothing ? std::span<const float>() : stats.moments;
  if (encoding->format.IsSparse()) {
    return EncodeSparse(weights,
                        stats,
                        threads,
                        encoding,
                        [&](std::span<const float> values,
                            int64_t row,
                            std::span<const uint8_t> mask,
                            std::span<uint32_t> codes) {
                          return EncodeGroups(values, importance, mask, row, codes, encoding);
                        });
  }
  return ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
    if (encoding->format.IsBlock()) return EncodeBlocks(values, importance, row, encoding);
    const EncodingLayout layout(encoding->format, encoding->rows, encoding->cols);
    std::vector<uint32_t> codes(encoding->cols);
    BB_RETURN_IF_ERROR(EncodeGroups(values, importance, {}, row, codes, encoding));
    PackBits<uint32_t>(
        codes, encoding->format.bits, encoding->bytes.data() + row * layout.code_row_bytes);
    return absl::OkStatus();
  });
}

absl::Status GroupwiseEncoder::EncodeBlocks(std::span<const float> weights,
                                            std::span<const float> importance,
                                            int64_t row,
                                            Encoding* encoding) const {
  const EncodingLayout layout(encoding->format, encoding->rows, encoding->cols);
  const BlockTraits& traits = BlockTraitsOf(encoding->format);
  uint8_t* const row_bytes = encoding->bytes.data() + row * layout.code_row_bytes;
  BlockFields fields;
  for (int64_t begin = 0; begin < encoding->cols; begin += traits.block) {
    const std::span<const float> block = weights.subspan(begin, traits.block);
    EncodeBlock(block, UsableImportance(Part(importance, begin, traits.block)), traits, &fields);
    if (!std::isfinite(fields.d) || !std::isfinite(fields.dmin)) {
      return ScaleOverflow(block, encoding->format, row, begin);
    }
    PackBlock(traits, fields, row_bytes + begin / traits.block * traits.bytes);
  }
  return absl::OkStatus();
}

absl::Status GroupwiseEncoder::EncodeGroups(std::span<const float> weights,
                                            std::span<const float> importance,
                                            std::span<const uint8_t> mask,
                                            int64_t row,
                                            std::span<uint32_t> codes,
                                            Encoding* encoding) const {
  const Format& format = encoding->format;
  const int64_t cols = encoding->cols;
  const EncodingLayout layout(format, encoding->rows, cols);
  uint8_t* const bytes = encoding->bytes.data();
  const Format dense = format.Dense();
  const int64_t group_size = format.GroupSize(cols);
  std::vector<uint8_t> zeros(layout.groups);
  std::vector<uint8_t> group_codes;
  std::vector<float> kept;
  std::vector<float> kept_importance;
  for (int64_t group = 0; group < layout.groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t count = std::min(group_size, cols - begin);
    std::span<const float> values = weights.subspan(begin, count);
    std::span<const float> weighing = Part(importance, begin, count);
    if (!mask.empty()) {
      const std::span<const uint8_t> here = mask.subspan(begin, count);
      if (!weighing.empty()) weighing = kept_importance = Kept(weighing, here);
      values = kept = Kept(values, here);
    }
    float scale = 0.0f;
    int zero = format.zero_point ? 0 : SymmetricZero(format);
    group_codes.resize(values.size());
    if (!values.empty()) {
      EncodeGroup(values, UsableImportance(weighing), dense, group_codes, &scale, &zero);
    }
    if (!std::isfinite(scale)) {
      return ScaleOverflow(weights.subspan(begin, count), format, row, begin);
    }
    const uint16_t stored = FloatToHalf(scale);
    CHECK_EQ(HalfToFloat(stored), scale) << name() << " chose codes for a scale that is not f16";
    CHECK(zero >= 0 && zero < 1 << format.bits) << name() << " chose zero point " << zero;
    CHECK(format.zero_point || zero == SymmetricZero(format)) << zero;
    std::memcpy(
        bytes + layout.scales_offset + 2 * (row * layout.groups + group), &stored, sizeof(stored));
    zeros[group] = static_cast<uint8_t>(zero);
    std::copy(group_codes.begin(), group_codes.end(), codes.begin());
    codes = codes.subspan(group_codes.size());
  }
  if (format.zero_point) {
    PackBits<uint8_t>(
        zeros, format.bits, bytes + layout.zeros_offset + row * layout.zero_row_bytes);
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
