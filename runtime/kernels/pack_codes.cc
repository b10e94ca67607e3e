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

// The sum of the codes [begin, begin + count) of a row.
float SumOf(const Row& row, int64_t begin, int64_t count) {
  const auto first = row.codes.begin() + begin;
  return static_cast<float>(std::accumulate(first, first + count, 0));
}

// Into row `r` of block `block`.
void PutRow(const Row& row, int64_t block, int r, PackedActivations* out) {
  const ActivationPacking& packing = out->packing;
  const int64_t k = static_cast<int64_t>(row.codes.size());
  const int64_t run = RunOf(packing.rounding);
  const int64_t codes = block * k * kTileRows;
  for (int64_t i = 0; i < k; ++i) {
    if (out->wide) {
      const int64_t at = PairOrder(i);
      out->i16[codes + (at / 2 * kTileRows + r) * 2 + at % 2] = row.codes[i];
    } else {
      out->i8[codes + (i / 4 * kTileRows + r) * 4 + i % 4] = row.codes[i];
    }
  }
  const int64_t groups = block * out->groups() * kTileRows;
  for (int64_t i = 0, g = 0; i < k; i += packing.group, ++g) {
    out->scales[groups + g * kTileRows + r] = row.scales[i / run];
    if (!out->wide) out->sums[groups + g * kTileRows + r] = SumOf(row, i, packing.group);
  }
  if (packing.sum_group == 0) return;
  float* const sums = out->group_sums.data() + block * out->sum_groups() * kTileRows;
  for (int64_t i = 0, g = 0; i < k; i += packing.sum_group, ++g) {
    float& sum = sums[g * kTileRows + r];
    if (packing.rounding == InputRounding::kQ8_1) {
      sum = row.sums[i / run];
      continue;
    }
    sum = SumOf(row, i, packing.sum_group) * row.scales[i / run];
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
    PutRow(i < out->m ? row : none, block, static_cast<int>(i % kTileRows), out);
  }
}

}  // namespace bitbudget
