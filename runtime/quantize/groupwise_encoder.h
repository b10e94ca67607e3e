#ifndef BITBUDGET_RUNTIME_QUANTIZE_GROUPWISE_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GROUPWISE_ENCODER_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "runtime/quantize/encoder.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// An encoder that chooses the codes of every group or block on its own, with moments, if it needs
// any, as the importance of weights.
class GroupwiseEncoder : public Encoder {
 protected:
  // Chooses scale, zero point and codes of one group of finite weights in an integer format; not
  // called for empty groups. `importance` weighs the squared errors, one per weight; empty: all
  // alike. `*scale` must be an f16 value already, so that the codes fit the stored scale; it may be
  // negative, and is infinite where f16 cannot hold it, which becomes an error. Codes are in
  // [0, 2^bits), `*zero` too, and it is 2^(bits-1) in symmetric formats.
  virtual void EncodeGroup(std::span<const float> weights,
                           std::span<const float> importance,
                           const Format& format,
                           std::span<uint8_t> codes,
                           float* scale,
                           int* zero) const = 0;

  // Chooses the fields of one block, as PackBlock stores them: d and dmin are rounded to their
  // stored type, or infinite.
  virtual void EncodeBlock(std::span<const float> weights,
                           std::span<const float> importance,
                           const BlockTraits& traits,
                           BlockFields* fields) const = 0;

 private:
  absl::Status EncodeMatrix(const TensorView& weights,
                            const InputStats& stats,
                            int threads,
                            Encoding* encoding) const final;
  // Fills row `row` of a block format.
  absl::Status EncodeBlocks(std::span<const float> weights,
                            std::span<const float> importance,
                            int64_t row,
                            Encoding* encoding) const;
  // Fills scales and zero points of row `row` of an integer format, and `codes` with the codes of
  // the weights that `mask` keeps (empty: all).
  absl::Status EncodeGroups(std::span<const float> weights,
                            std::span<const float> importance,
                            std::span<const uint8_t> mask,
                            int64_t row,
                            std::span<uint32_t> codes,
                            Encoding* encoding) const;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GROUPWISE_ENCODER_H_
