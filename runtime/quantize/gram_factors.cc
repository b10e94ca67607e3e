#include "runtime/quantize/gram_factors.h"

#include <glog/logging.h>

#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

GramFactors::GramFactors(const Gram& gram)
    : damped(Damp(gram, &natural)),
      panels(PackWeightsF32(ViewOf(damped.gram.values, gram.size, gram.size))),
      by_energy(MakeFeedback(damped, ActivationOrder(damped))) {
  CHECK(natural != nullptr) << "a damped Gram matrix has no factor";
}

int64_t GramFactors::PeakBytes(int64_t inputs) {
  // The damped matrix, its panels and half of it for each order in f32, and a factor in f64.
  return 5 * inputs * inputs * static_cast<int64_t>(sizeof(float)) +
         4 * inputs * Feedback::kColumnBatch * static_cast<int64_t>(sizeof(float));
}

}  // namespace bitbudget
