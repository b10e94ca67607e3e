#include "runtime/quantize/rtn_encoder.h"

#include <cmath>

#include "runtime/quantize/block_rtn.h"
#include "runtime/quantize/groupwise_encoder.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

class RtnEncoder final : public GroupwiseEncoder {
 public:
  absl::string_view name() const override { return "rtn"; }
  StatsNeed needs() const override { return StatsNeed::kNothing; }

 protected:
  void EncodeGroup(std::span<const float> weights,
                   std::span<const float> /*importance*/,
                   const Format& format,
                   std::span<uint8_t> codes,
                   float* scale,
                   int* zero) const override {
    const IntegerGrid grid = RangeGrid(weights, format);
    *scale = grid.scale;
    *zero = grid.zero;
    if (std::isfinite(grid.scale)) RoundToGrid(weights, grid, format, codes);
  }

  void EncodeBlock(std::span<const float> weights,
                   std::span<const float> /*importance*/,
                   const BlockTraits& traits,
                   BlockFields* fields) const override {
    RoundBlock(weights, traits, fields);
  }
};

}  // namespace

std::unique_ptr<Encoder> MakeRtnEncoder() { return std::make_unique<RtnEncoder>(); }

}  // namespace bitbudget
