#ifndef BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// What an encoder must be told of the inputs that a matrix meets on calibration text.
enum class StatsNeed : uint8_t { kNothing, kMoments, kGram };

// Chooses the codes of a weight matrix in a format. Stateless after construction, deterministic,
// and safe to call from many threads.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual absl::string_view name() const = 0;  // "rtn", "clip", ...: what plans record

  // What Encode needs; of what is not needed nothing is used.
  virtual StatsNeed needs() const { return StatsNeed::kNothing; }

  // The matrix in the format. What is stored in the format already is copied, float formats are a
  // plain conversion, one-bit formats are decomposed (one_bit.h), and nothing is kept of a removed
  // matrix, with every encoder. Sparse formats hold the weights that stats.pruning chooses
  // (pruning.h), with scales and zero points that are fitted to these alone. Rows are spread over
  // `threads`; the result does not depend on how many.
  //
  // Errors, all kInvalidArgument and naming row and column: NaN or infinite weights; values beyond
  // the largest f16 or bf16; a group whose scale would exceed the largest f16 (clamping it would
  // silently destroy the group). Also rows that are not whole blocks, and statistics that are
  // missing, of another number than the columns, negative where they are squares, or not finite.
  absl::StatusOr<Encoding> Encode(const TensorView& weights,
                                  const Format& format,
                                  const InputStats& stats = {},
                                  int threads = 1) const;

 protected:
  // Fills `encoding`, of an integer (dense or sparse) or block format and with bytes that are all
  // 0, with codes, after a check that weights are finite, with statistics that were checked. Row
  // after row by the functions below, unless an encoder knows better.
  virtual absl::Status EncodeMatrix(const TensorView& weights,
                                    const InputStats& stats,
                                    int threads,
                                    Encoding* encoding) const;

  // Chooses scale and codes for one non-empty group of finite weights; called for every group of an
  // integer format. `importance` weighs the squared errors, one per weight, or is empty: all alike.
  // `*scale` is rounded to f16 by this function already (so that codes fit the stored scale); it
  // may be negative, and it is infinite when the group needs more than f16 can hold, which Encode
  // turns into an error. codes are in [0, 2^bits), `*zero` is in [0, 2^bits) and is 2^(bits-1) for
  // symmetric formats.
  virtual void EncodeGroup(std::span<const float> weights,
                           std::span<const float> importance,
                           const Format& format,
                           std::span<uint8_t> codes,
                           float* scale,
                           int* zero) const = 0;

  // The same for one block of a block format, as PackBlock stores it: d and dmin are rounded to
  // their stored type, or infinite.
  virtual void EncodeBlock(std::span<const float> weights,
                           std::span<const float> importance,
                           const BlockTraits& traits,
                           BlockFields* fields) const = 0;

 private:
  // Fills row `row` of a block format.
  absl::Status EncodeBlocks(std::span<const float> weights,
                            std::span<const float> importance,
                            int64_t row,
                            Encoding* encoding) const;
  // Fills scales and zero points of row `row` of an integer format, and `codes` with the codes of
  // the weights that `mask` holds (empty: all).
  absl::Status EncodeGroups(std::span<const float> weights,
                            std::span<const float> importance,
                            std::span<const uint8_t> mask,
                            int64_t row,
                            std::span<uint32_t> codes,
                            Encoding* encoding) const;
};

// Round to nearest: the scale spans the group's range (symmetric: absmax maps to 2^(bits-1) - 1;
// zero point: [min(0, min), max(0, max)] maps to [0, 2^bits - 1], zero is always representable).
// A group whose scale is below half the smallest f16 (2^-25) becomes zeros.
std::unique_ptr<Encoder> MakeRtnEncoder();

// Error-minimising clip: among a fixed set of clipped ranges that starts at the RTN one, each with
// the least-squares scale for its codes, the one with the smallest squared weight error. Symmetric
// formats use all 2^bits codes, with a negative scale where the longer side is the positive one.
// Never worse than RTN on any group.
std::unique_ptr<Encoder> MakeClipEncoder();

// The search of "clip" for the smallest error of outputs: squared weight errors count times the
// moment of their column, which is what a row's output error is in the mean when inputs are
// uncorrelated. A group whose moments are all 0 is encoded as by "clip".
std::unique_ptr<Encoder> MakeImatrixEncoder();

// The encoder of matrices of that name: "rtn", "clip" or "imatrix"; kInvalidArgument names any
// other text. runtime/quantize/encoders.h has them all.
absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name);

// kInvalidArgument, listing what there is, unless plans may record this encoder.
absl::Status CheckEncoderName(absl::string_view name);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ENCODER_H_
