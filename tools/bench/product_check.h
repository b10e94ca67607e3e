#ifndef BITBUDGET_TOOLS_BENCH_PRODUCT_CHECK_H_
#define BITBUDGET_TOOLS_BENCH_PRODUCT_CHECK_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/kernels/panels.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// Checks y[m][n] (row stride n) = x W^T, for x[m][k] packed as `packing` asks and W = `encoding`
// [n, k]: every row of one output of every panel (so every tile is seen), against the definition of
// the path (docs/kernels.md, "Summation order") computed one element at a time: activation codes in
// scalar float, sums of codes in 64-bit integers, the rest in double.
// The bound is what the path's own float roundings allow. kF32, one FMA per input in any order:
// k u |x| |w|, u = 2^-24. Integer paths, with t_g the exact terms of the groups: one rounding of
// the integer, one of the product of the scales and one per FMA, (groups + 3) u sum |t_g|. `flush`:
// inputs per flush group (WeightPanels::flush; unused for kF32). kInternal names the first wrong
// element, `what` and both values.
absl::Status CheckProduct(absl::string_view what,
                          const ActivationPacking& packing,
                          int flush,
                          const Encoding& encoding,
                          std::span<const float> x,
                          int64_t m,
                          std::span<const float> y);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_PRODUCT_CHECK_H_
