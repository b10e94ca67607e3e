#ifndef BITBUDGET_TESTS_SUPPORT_NAIVE_TRANSFORMER_H_
#define BITBUDGET_TESTS_SUPPORT_NAIVE_TRANSFORMER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model/decoder/model.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// What a pass over one sequence gives, in double.
struct NaivePass {
  // The residual stream [position][hidden] after the embedding and after every half of a layer: one
  // entry ahead of each stage 1 .. 2L + 1 (components.h), so streams[s] goes into stage s + 1.
  std::vector<std::vector<double>> streams;
  std::vector<double> logits;  // [position][vocab]
  // What every component is multiplied by, as it is (before any rounding to 16 bits): entries
  // [position][cols] by ComponentId, empty where nothing is.
  std::vector<std::vector<double>> inputs;
};

// kDouble is the definition. kFloat rounds every value to float on the way; how far it is from
// kDouble tells how much rounding matters in this model. kInt16 is kDouble with the inputs of every
// matrix product rounded to 16 bits per row, which is what integer formats run with.
enum class NaiveArithmetic { kDouble, kFloat, kInt16 };

// The supported decoders by their definitions (Llama, Touvron et al. 2023, and what the others do
// differently), loop by loop and without a cache. Which norms, which activation and which scales
// there are follows from the architecture here, not from the fields that tell the runtime. It
// shares nothing with the runtime but the loaded weights and numbers.
class NaiveTransformer {
 public:
  explicit NaiveTransformer(const Model& model);

  // Replaces a component by what its encoding decodes to.
  void SetWeights(ComponentId component, const Encoding& encoding);

  NaivePass Run(std::span<const int32_t> tokens,
                NaiveArithmetic arithmetic = NaiveArithmetic::kDouble) const;

 private:
  const Model& model_;
  std::vector<std::vector<double>> weights_;  // [component][row * cols + col]
};

// Largest |a[i] - b[i]|.
double MaxDifference(std::span<const double> a, std::span<const double> b);

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_NAIVE_TRANSFORMER_H_
