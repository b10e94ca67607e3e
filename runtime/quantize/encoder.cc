#include "runtime/quantize/encoder.h"

#include <glog/logging.h>

#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/float_codes.h"
#include "runtime/quantize/svid.h"

namespace bitbudget {
namespace {

// Whether the statistics that an encoder needs are there and usable.
absl::Status CheckStats(const Encoder& encoder, const InputStats& stats, int64_t cols) {
  if (encoder.needs() == StatsNeed::kNothing || cols == 0) return absl::OkStatus();
  const bool gram = encoder.needs() == StatsNeed::kGram;
  if (stats.moments.empty() || (gram && stats.gram == nullptr)) {
    return absl::InvalidArgumentError(absl::StrCat("encoder ",
                                                   encoder.name(),
                                                   " needs the ",
                                                   gram ? "Gram matrix" : "second moments",
                                                   " of the matrix's inputs on calibration text"));
  }
  if (gram) BB_RETURN_IF_ERROR(CheckGram(*stats.gram, cols));
  return CheckMoments(stats.moments, cols);
}

absl::Status CheckFinite(const TensorView& weights, int threads) {
  return ForEachFiniteRow(
      weights, threads, [](std::span<const float>, int64_t) { return absl::OkStatus(); });
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
  const bool copied = format == weights.format;
  const bool removed = format.kind == FormatKind::kRemoved;
  InputStats used;
  if (!copied && !removed) {
    if (!format.IsFloat()) {
      BB_RETURN_IF_ERROR(CheckStats(*this, stats, cols));
      if (needs() != StatsNeed::kNothing) used = stats;
    }
    if (format.IsSparse() && stats.pruning == Pruning::kWanda) {
      used.pruning = stats.pruning;
      used.moments = stats.moments;
      if (!used.moments.empty()) BB_RETURN_IF_ERROR(CheckMoments(used.moments, cols));
    }
    if (format.IsSparse() && stats.pruning == Pruning::kFisher) {
      used.pruning = stats.pruning;
      used.fisher = stats.fisher;
      CHECK(used.fisher.empty() || static_cast<int64_t>(used.fisher.size()) == weights.size());
    }
  }
  Encoding encoding{format, rows, cols, std::vector<uint8_t>(SizeBytes(format, rows, cols))};
  if (weights.size() == 0) return encoding;
  if (copied || removed) {
    BB_RETURN_IF_ERROR(CheckFinite(weights, threads));
    if (copied) CopyRows(weights, encoding.bytes.data());
  } else if (format.IsFloat()) {
    BB_RETURN_IF_ERROR(EncodeFloats(weights, used, threads, &encoding));
  } else if (format.kind == FormatKind::kOneBit) {
    BB_RETURN_IF_ERROR(EncodeOneBit(weights, used, threads, &encoding));
  } else {
    BB_RETURN_IF_ERROR(EncodeMatrix(weights, used, threads, &encoding));
  }
  return encoding;
}

}  // namespace bitbudget
