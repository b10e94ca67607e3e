#include "runtime/kernels/pack_codes.h"

#include <glog/logging.h>

#include <numeric>
#include <vector>

#include "runtime/kernels/input_rounding.h"

namespace bitbudget {
namespace {

// One row, as RoundToCodes makes it.
struct Row {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<float> sums;
};

// Into row `r` of a block, whose planes begin at `codes`, `scales` and `sums`.
void PutRow(const ActivationPacking& packing,
            const Row& row,
            int r,
            int16_t* codes,
            float* scales,
            float* sums) {
  const int64_t k = static_cast<int64_t>(row.codes.size());
  const int64_t run = RunOf(packing.rounding);
  for (int64_t i = 0; i < k; ++i) codes[(i / 2 * kTileRows + r) * 2 + i % 2] = row.codes[i];
  for (int64_t i = 0, g = 0; i < k; i += packing.group, ++g) {
    scales[g * kTileRows + r] = row.scales[i / run];
  }
  if (packing.sum_group == 0) return;
  for (int64_t i = 0, g = 0; i < k; i += packing.sum_group, ++g) {
    float& sum = sums[g * kTileRows + r];
    if (packing.rounding == InputRounding::kQ8_1) {
      sum = row.sums[i / run];
      continue;
    }
    const auto begin = row.codes.begin() + i;
    sum = static_cast<float>(std::accumulate(begin, begin + packing.sum_group, 0)) *
          row.scales[i / run];
  }
}

}  // namespace

void PackCodes(const float* x, int64_t ldx, PackedActivations* out) {
  const ActivationPacking& packing = out->packing;
  const int64_t k = out->k;
  const int64_t run = RunOf(packing.rounding);
  CHECK(run % packing.group == 0 && k % run == 0 && k == out->padded_k)
      << "groups of " << packing.group << ", runs of " << run << ", k " << k;
  CHECK(packing.rounding != InputRounding::kQ8_1 || packing.sum_group == run)
      << "sums of " << packing.sum_group;
  Row row{std::vector<int8_t>(k), std::vector<float>(k / run), std::vector<float>(k / run)};
  const Row none = row;
  const int64_t rows = (out->m + kTileRows - 1) / kTileRows * kTileRows;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t block = i / kTileRows;
    if (i < out->m) {
      RoundToCodes(
          packing.rounding, x + i * ldx, k, row.codes.data(), row.scales.data(), row.sums.data());
    }
    PutRow(packing,
           i < out->m ? row : none,
           static_cast<int>(i % kTileRows),
           out->i16.data() + block * k * kTileRows,
           out->scales.data() + block * out->groups() * kTileRows,
           out->group_sums.data() + block * out->sum_groups() * kTileRows);
  }
}

}  // namespace bitbudget
