#include "runtime/quantize/encoder.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/pruning.h"
#include "runtime/quantize/svid.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

void Store16(uint16_t value, uint8_t* bytes) { std::memcpy(bytes, &value, sizeof(value)); }

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

absl::Status EncodeFloats(const TensorView& weights, int threads, Encoding* encoding) {
  const Format& format = encoding->format;
  const int64_t row_bytes = encoding->cols * (format.bits / 8);
  return ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
    std::vector<uint32_t> bits(values.size());
    BB_RETURN_IF_ERROR(RoundFloats(values, format, row, bits));
    PackBits<uint32_t>(bits, format.bits, encoding->bytes.data() + row * row_bytes);
    return absl::OkStatus();
  });
}

// Where the codes of a row of a sparse matrix begin among all of them.
std::vector<int64_t> FirstCodes(std::span<const uint8_t> kept, int64_t rows, int64_t cols) {
  std::vector<int64_t> first(rows + 1);
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = kept.begin() + row * cols;
    first[row + 1] = first[row] + std::count(begin, begin + cols, 1);
  }
  return first;
}

// Chooses a mask and fills it and the codes of a sparse matrix: code_row(values, row, mask, codes)
// gives a code to every weight that the mask holds.
absl::Status EncodeSparse(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding,
                          const std::function<absl::Status(std::span<const float> values,
                                                           int64_t row,
                                                           std::span<const uint8_t> mask,
                                                           std::span<uint32_t> codes)>& code_row) {
  const Format& format = encoding->format;
  const int64_t cols = encoding->cols;
  BB_ASSIGN_OR_RETURN(const std::vector<uint8_t> kept, ChooseKept(weights, format, stats, threads));
  WriteMask(kept, encoding);
  const std::vector<int64_t> first = FirstCodes(kept, encoding->rows, cols);
  std::vector<uint32_t> codes(first.back());
  BB_RETURN_IF_ERROR(
      ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
        return code_row(values,
                        row,
                        std::span(kept).subspan(row * cols, cols),
                        std::span(codes).subspan(first[row], first[row + 1] - first[row]));
      }));
  const SparseLayout layout(format, encoding->rows, cols);
  uint8_t* const out = encoding->bytes.data() + layout.codes_offset;
  if (format.sparsity.kind == SparsityKind::kShare) {
    PackBits<uint32_t>(codes, format.bits, out);
    return absl::OkStatus();
  }
  for (int64_t row = 0; row < encoding->rows; ++row) {
    PackBits<uint32_t>(std::span(codes).subspan(first[row], first[row + 1] - first[row]),
                       format.bits,
                       out + row * layout.code_row_bytes);
  }
  return absl::OkStatus();
}

// The values where the mask is 1.
std::vector<float> Held(std::span<const float> values, std::span<const uint8_t> mask) {
  std::vector<float> held;
  for (size_t i = 0; i < values.size(); ++i) {
    if (mask[i] != 0) held.push_back(values[i]);
  }
  return held;
}

absl::Status EncodeSparseFloats(const TensorView& weights,
                                const InputStats& stats,
                                int threads,
                                Encoding* encoding) {
  return EncodeSparse(weights,
                      stats,
                      threads,
                      encoding,
                      [&](std::span<const float> values,
                          int64_t row,
                          std::span<const uint8_t> mask,
                          std::span<uint32_t> codes) {
                        // What is left out need not fit the format.
                        std::vector<float> masked(values.begin(), values.end());
                        for (size_t i = 0; i < masked.size(); ++i) masked[i] *= mask[i];
                        std::vector<uint32_t> bits(masked.size());
                        BB_RETURN_IF_ERROR(RoundFloats(masked, encoding->format, row, bits));
                        size_t next = 0;
                        for (size_t i = 0; i < masked.size(); ++i) {
                          if (mask[i] != 0) codes[next++] = bits[i];
                        }
                        return absl::OkStatus();
                      });
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
  const bool sized = !copy && format.kind != FormatKind::kRemoved;
  InputStats used;
  if (sized && !format.IsFloat()) {
    BB_RETURN_IF_ERROR(CheckStats(name(), needs(), stats, cols));
    if (needs() != StatsNeed::kNothing) used = stats;
  }
  if (sized && format.IsSparse() && stats.pruning == Pruning::kWanda) {
    used.pruning = stats.pruning;
    used.moments = stats.moments;
    if (!used.moments.empty()) BB_RETURN_IF_ERROR(CheckMoments(used.moments, cols));
  }
  Encoding encoding{format, rows, cols, std::vector<uint8_t>(SizeBytes(format, rows, cols))};
  if (weights.size() == 0) return encoding;
  if (copy || !sized) {
    BB_RETURN_IF_ERROR(ForEachFiniteRow(
        weights, threads, [](std::span<const float>, int64_t) { return absl::OkStatus(); }));
    if (copy) CopyRows(weights, encoding.bytes.data());
  } else if (format.IsFloat() && format.IsSparse()) {
    BB_RETURN_IF_ERROR(EncodeSparseFloats(weights, used, threads, &encoding));
  } else if (format.IsFloat()) {
    BB_RETURN_IF_ERROR(EncodeFloats(weights, threads, &encoding));
  } else if (format.kind == FormatKind::kOneBit) {
    BB_RETURN_IF_ERROR(EncodeOneBit(weights, used, threads, &encoding));
  } else {
    BB_RETURN_IF_ERROR(EncodeMatrix(weights, used, threads, &encoding));
  }
  return encoding;
}

absl::Status Encoder::EncodeMatrix(const TensorView& weights,
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

namespace {

std::span<const float> Part(std::span<const float> values, int64_t begin, int64_t count) {
  return values.empty() ? values : values.subspan(begin, count);
}

}  // namespace

absl::Status Encoder::EncodeBlocks(std::span<const float> weights,
                                   std::span<const float> importance,
                                   int64_t row,
                                   Encoding* encoding) const {
  const EncodingLayout layout(encoding->format, encoding->rows, encoding->cols);
  const BlockTraits& traits = BlockTraitsOf(encoding->format.kind);
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

absl::Status Encoder::EncodeGroups(std::span<const float> weights,
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
  std::vector<float> held;
  std::vector<float> held_importance;
  for (int64_t group = 0; group < layout.groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t count = std::min(group_size, cols - begin);
    std::span<const float> values = weights.subspan(begin, count);
    std::span<const float> weighing = Part(importance, begin, count);
    if (!mask.empty()) {
      const std::span<const uint8_t> here = mask.subspan(begin, count);
      if (!weighing.empty()) weighing = held_importance = Held(weighing, here);
      values = held = Held(values, here);
    }
    float scale = 0.0f;
    int zero = format.zero_point ? 0 : SymmetricZero(format);
    group_codes.resize(values.size());
    if (!values.empty()) {
      EncodeGroup(values, UsableImportance(weighing), dense, group_codes, &scale, &zero);
    }
    if (!std::isfinite(scale))
      return ScaleOverflow(weights.subspan(begin, count), format, row, begin);
    const uint16_t stored = FloatToHalf(scale);
    CHECK_EQ(HalfToFloat(stored), scale) << name() << " chose codes for a scale that is not f16";
    CHECK(zero >= 0 && zero < 1 << format.bits) << name() << " chose zero point " << zero;
    CHECK(format.zero_point || zero == SymmetricZero(format)) << zero;
    Store16(stored, bytes + layout.scales_offset + 2 * (row * layout.groups + group));
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

absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name) {
  if (name == "rtn") return MakeRtnEncoder();
  if (name == "clip") return MakeClipEncoder();
  if (name == "imatrix") return MakeImatrixEncoder();
  BB_RETURN_IF_ERROR(CheckEncoderName(name));
  return absl::InvalidArgumentError(
      absl::StrCat("encoder ", name, " learns from Gram matrices; rtn, clip and imatrix do not"));
}

absl::Status CheckEncoderName(absl::string_view name) {
  constexpr absl::string_view kNames[] = {
      "rtn", "clip", "imatrix", "gptq", "lwc", "auto", "gptq+block", "lwc+block", "auto+block"};
  if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown encoder \"", absl::CEscape(name), "\"; known: ", absl::StrJoin(kNames, " ")));
}

}  // namespace bitbudget
