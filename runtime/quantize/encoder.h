#ifndef BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Which statistics of a matrix's inputs an encoder needs, from calibration text. kGram includes the
// moments.
enum class StatsNeed : uint8_t { kNothing, kMoments, kGram };

// Chooses the codes of a weight matrix in a format. Stateless after construction, deterministic,
// and safe to call from many threads. encoders.h lists all encoders.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual absl::string_view name() const = 0;

  // What Encode needs; it ignores all other statistics.
  virtual StatsNeed needs() const = 0;

  // The matrix in the format. Some formats leave an encoder no choice: weights that are stored in
  // the format already are copied, float formats are a plain conversion, one-bit formats are
  // decomposed (svid.h), and a removed matrix has no bytes. Sparse formats hold the weights that
  // stats.pruning chooses (pruning.h); scales and zero points are fitted to these alone. Rows are
  // spread over `threads`; the result does not depend on their number.
  //
  // Errors, all kInvalidArgument: weights that are not finite, exceed the largest f16 or bf16, or
  // need a scale beyond f16 (clamping it would silently destroy the group), named by row and
  // column; rows that are not whole blocks; statistics that are missing, do not fit the columns,
  // are not finite, or are negative where they are squares.
  absl::StatusOr<Encoding> Encode(const TensorView& weights,
                                  const Format& format,
                                  const InputStats& stats = {},
                                  int threads = 1) const;

 protected:
  // Fills `encoding`, whose bytes are all 0, with codes. The format is an integer format, dense or
  // sparse, or a block format; the matrix is not empty; `stats` hold what needs() asks for, and
  // have been checked. Weights have not: read them with ForEachFiniteRow (finite_rows.h).
  virtual absl::Status EncodeMatrix(const TensorView& weights,
                                    const InputStats& stats,
                                    int threads,
                                    Encoding* encoding) const = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_
