#include "runtime/tensor/encoder.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/float16.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/integer_grid.h"

namespace bitbudget {
namespace {

void Store16(uint16_t value, uint8_t* bytes) { std::memcpy(bytes, &value, sizeof(value)); }

// Codes of `bits` bits in order, the low bits of a byte first; what is left of the last byte is 0.
void PackCodes(std::span<const uint8_t> codes, int bits, uint8_t* out) {
  uint32_t pending = 0;
  int count = 0;
  for (const uint8_t code : codes) {
    pending |= uint32_t{code} << count;
    for (count += bits; count >= 8; count -= 8, pending >>= 8) *out++ = pending & 0xff;
  }
  if (count > 0) *out = static_cast<uint8_t>(pending);
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

absl::Status EncodeFloatRow(std::span<const float> weights, int64_t row, Encoding* encoding) {
  const Format& format = encoding->format;
  uint8_t* const out = encoding->bytes.data() + row * (encoding->bytes.size() / encoding->rows);
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

absl::Status CheckMoments(std::span<const float> moments, int64_t cols) {
  if (static_cast<int64_t>(moments.size()) != cols) {
    return absl::InvalidArgumentError(
        absl::StrCat(moments.size(), " moments for ", cols, " columns"));
  }
  for (int64_t column = 0; column < cols; ++column) {
    if (!(moments[column] >= 0.0f) || std::isinf(moments[column])) {
      return absl::InvalidArgumentError(absl::StrCat("the moment of column ",
                                                     column,
                                                     " is ",
                                                     moments[column],
                                                     ", not a finite number from 0 on"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGram(const Gram& gram, int64_t cols) {
  if (gram.size != cols || static_cast<int64_t>(gram.values.size()) != cols * cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Gram matrix of ", gram.size, " inputs for ", cols, " columns"));
  }
  const int64_t bad = ViewOf(gram.values, 1, cols * cols).FirstNonFinite();
  if (bad < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the Gram matrix is ",
                                                 gram.values[bad],
                                                 " at inputs ",
                                                 bad / cols,
                                                 " and ",
                                                 bad % cols,
                                                 ", not a finite number"));
}

// Whether the statistics that an encoder needs are there and right.
absl::Status CheckStats(absl::string_view encoder,
                        StatsNeed need,
                        const InputStats& stats,
                        int64_t cols) {
  if (need == StatsNeed::kNothing || cols == 0) return absl::OkStatus();
  const bool gram = need == StatsNeed::kGram;
  if (stats.moments.empty() || (gram && stats.gram == nullptr)) {
    return absl::InvalidArgumentError(absl::StrCat("encoder ",
                                                   encoder,
                                                   " needs the ",
                                                   gram ? "Gram matrix" : "moments",
                                                   " of the inputs, from calibration text"));
  }
  if (gram) BB_RETURN_IF_ERROR(CheckGram(*stats.gram, cols));
  return CheckMoments(stats.moments, cols);
}

// Moments that are all 0 weigh nothing, so they are as good as none.
std::span<const float> UsableImportance(std::span<const float> importance) {
  const bool usable =
      std::any_of(importance.begin(), importance.end(), [](float moment) { return moment > 0.0f; });
  return usable ? importance : std::span<const float>();
}

void CopyRows(const TensorView& weights, uint8_t* out) {
  const int64_t row_bytes = weights.row_bytes();
  for (int64_t row = 0; row < weights.rows; ++row, out += row_bytes) {
    std::memcpy(out, weights.RowData(row), row_bytes);
  }
}

// Rows that a thread takes at a time: enough to pay for handing them out.
constexpr int64_t kRowsAtOnce = 8;

// Calls encode(values, row) for every row, after a check that its values are finite, on up to
// `threads` threads. The first bad row's error, whatever their number.
absl::Status ForEachRow(
    const TensorView& weights,
    int threads,
    const std::function<absl::Status(std::span<const float> values, int64_t row)>& encode) {
  const int64_t items = (weights.rows + kRowsAtOnce - 1) / kRowsAtOnce;
  std::vector<absl::Status> statuses(items);
  ParallelFor(threads, items, [&](int64_t item, int) {
    std::vector<float> values(weights.cols);
    const int64_t end = std::min(weights.rows, (item + 1) * kRowsAtOnce);
    for (int64_t row = item * kRowsAtOnce; row < end && statuses[item].ok(); ++row) {
      weights.ReadRow(row, values);
      statuses[item] = CheckFinite(values, row);
      if (statuses[item].ok()) statuses[item] = encode(values, row);
    }
  });
  for (const absl::Status& status : statuses) BB_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Encoding> Encoder::Encode(const TensorView& weights,
                                         const Format& format,
                                         const InputStats& stats,
                                         int threads) const {
  CHECK(weights.rows >= 0 && weights.cols >= 0) << weights.rows << " x " << weights.cols;
  CHECK(weights.data != nullptr || weights.size() == 0) << "a view of nothing";
  if (!IsSupported(format)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot encode format ", format.Name()));
  }
  const int64_t rows = weights.rows;
  const int64_t cols = weights.cols;
  if (!Fits(format, cols)) {
    return absl::InvalidArgumentError(absl::StrCat("rows of ",
                                                   cols,
                                                   " inputs are not whole blocks of the ",
                                                   format.BlockSize(),
                                                   " inputs of ",
                                                   format.Name()));
  }
  const bool copy = format == weights.format;
  InputStats used;
  if (!copy && !format.IsFloat()) {
    BB_RETURN_IF_ERROR(CheckStats(name(), needs(), stats, cols));
    if (needs() != StatsNeed::kNothing) used = stats;
  }
  Encoding encoding{format, rows, cols, std::vector<uint8_t>(SizeBytes(format, rows, cols))};
  if (encoding.bytes.empty()) return encoding;
  if (copy || format.IsFloat()) {
    BB_RETURN_IF_ERROR(
        ForEachRow(weights, threads, [&](std::span<const float> values, int64_t row) {
          return copy ? absl::OkStatus() : EncodeFloatRow(values, row, &encoding);
        }));
    if (copy) CopyRows(weights, encoding.bytes.data());
  } else {
    BB_RETURN_IF_ERROR(EncodeMatrix(weights, used, threads, &encoding));
  }
  return encoding;
}

absl::Status Encoder::EncodeMatrix(const TensorView& weights,
                                   const InputStats& stats,
                                   int threads,
                                   Encoding* encoding) const {
  return ForEachRow(weights, threads, [&](std::span<const float> values, int64_t row) {
    return EncodeRow(values, stats.moments, row, encoding);
  });
}

absl::Status Encoder::EncodeRow(std::span<const float> weights,
                                std::span<const float> importance,
                                int64_t row,
                                Encoding* encoding) const {
  const Format& format = encoding->format;
  const int64_t cols = encoding->cols;
  const EncodingLayout layout(format, encoding->rows, cols);
  uint8_t* const bytes = encoding->bytes.data();
  uint8_t* const row_bytes = bytes + row * layout.code_row_bytes;

  const auto part = [](auto values, int64_t begin, int64_t count) {
    return values.empty() ? values : values.subspan(begin, count);
  };
  if (format.IsBlock()) {
    const BlockTraits& traits = BlockTraitsOf(format.kind);
    BlockFields fields;
    for (int64_t begin = 0; begin < cols; begin += traits.block) {
      const std::span<const float> block = weights.subspan(begin, traits.block);
      EncodeBlock(block, UsableImportance(part(importance, begin, traits.block)), traits, &fields);
      if (!std::isfinite(fields.d) || !std::isfinite(fields.dmin)) {
        return ScaleOverflow(block, format, row, begin);
      }
      PackBlock(traits, fields, row_bytes + begin / traits.block * traits.bytes);
    }
    return absl::OkStatus();
  }

  std::vector<uint8_t> codes(cols);
  std::vector<uint8_t> zeros(layout.groups);
  const int64_t group_size = format.GroupSize(cols);
  for (int64_t group = 0; group < layout.groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t count = std::min(group_size, cols - begin);
    const std::span<const float> values = weights.subspan(begin, count);
    float scale = 0.0f;
    int zero = 0;
    EncodeGroup(values,
                UsableImportance(part(importance, begin, count)),
                format,
                std::span(codes).subspan(begin, count),
                &scale,
                &zero);
    if (!std::isfinite(scale)) return ScaleOverflow(values, format, row, begin);
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
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name) {
  if (name == "rtn") return MakeRtnEncoder();
  if (name == "clip") return MakeClipEncoder();
  if (name == "imatrix") return MakeImatrixEncoder();
  return CheckEncoderName(name);
}

absl::Status CheckEncoderName(absl::string_view name) {
  constexpr absl::string_view kNames[] = {"rtn", "clip", "imatrix", "gptq", "lwc", "gptq+block", "lwc+block"};
  if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown encoder \"", absl::CEscape(name), "\"; known: ", absl::StrJoin(kNames, " ")));
}

}  // namespace bitbudget
