#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_LIMITS_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_LIMITS_H_

#include <cstdint>

namespace bitbudget {

// Bounds of what a checkpoint may say about itself: far above any model that exists, and small
// enough that products of two sizes and sums of them over all layers stay below 2^63.
inline constexpr int64_t kMaxSize = int64_t{1} << 24;
inline constexpr int64_t kMaxLayers = int64_t{1} << 12;
inline constexpr int64_t kMaxPositions = int64_t{1} << 30;

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_LIMITS_H_
