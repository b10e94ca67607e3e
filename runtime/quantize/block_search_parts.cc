#include "runtime/quantize/block_search_parts.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace bitbudget {

Ratios::Ratios(int count, float largest, float smallest) : count_(count) {
  CHECK_LE(count, static_cast<int>(values_.size()));
  for (int step = 0; step < count; ++step) {
    values_[step] = largest * std::pow(smallest / largest,
                                       static_cast<float>(step) / static_cast<float>(count - 1));
  }
}

BlockLevels::BlockLevels(const BlockTraits& traits)
    : low(static_cast<float>(traits.Level(0))),
      high(static_cast<float>(traits.Level(traits.codes - 1))),
      table(LevelTableOf(traits)) {
  if (traits.kind == FormatKind::kTQ2_0) high = 1.0f;  // the code for level 2 stays unused
}

std::span<const float> ScaleRatios(int codes) {
  static const Ratios k256(12, 1.0f, 0.93f);
  static const Ratios k64(12, 1.0f, 0.8f);
  static const Ratios k32(14, 1.0f, 0.6f);
  static const Ratios k16(16, 1.0f, 0.45f);
  static const Ratios k8(16, 1.0f, 0.35f);
  static const Ratios few(24, 1.0f, 0.08f);
  const Ratios& ratios = codes > 64   ? k256
                         : codes > 32 ? k64
                         : codes > 16 ? k32
                         : codes > 8  ? k16
                         : codes > 4  ? k8
                                      : few;
  return ratios.list();
}

std::span<const float> RangeRatios(int codes) {
  static const Ratios k32(12, 1.02f, 0.75f);
  static const Ratios k16(14, 1.06f, 0.55f);
  static const Ratios few(16, 1.2f, 0.35f);
  return (codes > 16 ? k32 : codes > 4 ? k16 : few).list();
}

namespace internal {

bool SearchesAgree(std::span<const SearchBody> bodies,
                   const WeightedBlock& block,
                   const BlockFields& start) {
  const auto found = [&](SearchBody body) {
    BlockFields fields = start;
    body(block, &fields);
    return std::tuple(fields.d, fields.dmin, fields.scales, fields.minimums);
  };
  return std::all_of(bodies.begin(), bodies.end(), [&](SearchBody body) {
    return found(body) == found(bodies[0]);
  });
}

}  // namespace internal
}  // namespace bitbudget
