#include "runtime/kernels/transposed.h"

#include <glog/logging.h>

#include <algorithm>

namespace bitbudget {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Cuts x[k][columns] into strips of kWidth columns, strip[k padded with zeros][kWidth].
template <int kWidth>
void CutIntoStrips(
    const float* x, int64_t ldx, int64_t columns, int64_t k, int64_t padded_k, float* strips) {
  for (int64_t first = 0; first < columns; first += kWidth) {
    const int64_t count = std::min<int64_t>(kWidth, columns - first);
    const float* from = x + first;
    for (int64_t j = 0; j < k; ++j, from += ldx, strips += kWidth) {
      if (count == kWidth) {
        std::copy_n(from, kWidth, strips);
      } else {
        std::copy_n(from, count, strips);
        std::fill_n(strips + count, kWidth - count, 0.0f);
      }
    }
    std::fill_n(strips, (padded_k - k) * kWidth, 0.0f);
    strips += (padded_k - k) * kWidth;
  }
}

}  // namespace

void PackActivationsTransposed(
    const float* x, int64_t ldx, int64_t m, int64_t k, PackedActivations* out) {
  CHECK_GE(ldx, m);
  out->packing = Path::kF32;
  out->m = m;
  out->k = k;
  out->padded_k = RoundUp(k, kInputPad);
  out->f32.Resize(RoundUp(m, kTileRows) * out->padded_k);
  CutIntoStrips<kTileRows>(x, ldx, m, k, out->padded_k, out->f32.data());
}

WeightPanels PackWeightsTransposed(const float* w, int64_t ldw, int64_t n, int64_t k) {
  CHECK_GE(ldw, n);
  WeightPanels out;
  out.path = Path::kF32;
  out.n = n;
  out.k = k;
  out.padded_k = RoundUp(k, kInputPad);
  out.panels = RoundUp(n, kPanelWidth) / kPanelWidth;
  out.f32.Resize(out.panels * out.padded_k * kPanelWidth);
  CutIntoStrips<kPanelWidth>(w, ldw, n, k, out.padded_k, out.f32.data());
  return out;
}

}  // namespace bitbudget
