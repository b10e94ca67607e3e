#ifndef BITBUDGET_SCORING_OUTPUT_ERROR_H_
#define BITBUDGET_SCORING_OUTPUT_ERROR_H_

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/progress.h"
#include "runtime/eval/bank.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

// A sample of the inputs of the reference's components on calibration tokens.
class InputSample {
 public:
  // Runs the sequences through the model and keeps, of the f32 inputs of every matrix product,
  // `max_rows` evenly spread positions, or all where there are fewer. Errors: kCancelled on
  // interruption, those of the weights.
  static absl::StatusOr<InputSample> Create(const Transformer& transformer,
                                            WeightSource* weights,
                                            std::span<const std::vector<int32_t>> sequences,
                                            int64_t max_rows,
                                            int threads,
                                            Progress* progress);

  int64_t rows() const { return rows_; }
  // x[rows()][cols] of a component that is multiplied. REQUIRES: not an untied embedding.
  std::span<const float> Inputs(ComponentId component) const;
  // How often every token occurs in the sequences.
  const std::vector<int64_t>& token_counts() const { return token_counts_; }

 private:
  class Keep;

  int64_t rows_ = 0;
  std::vector<ComponentId> sources_;  // whose inputs a component shares; -1: none
  std::map<ComponentId, AlignedBuffer<float>> inputs_;
  std::vector<int64_t> token_counts_;
};

// How a format changes the outputs Y of a component on the sample.
struct OutputChange {
  double relative_error = 0;  // ||Y' - Y||^2 / ||Y||^2
  double gain = 1;            // ||Y'|| / ||Y||
};

// The change of a component in each format: X its inputs, W' its weights as the runtime runs them
// in the format, Y' = X W'^T, norms those of Frobenius. With the Hessian H = X^T X the error is
// tr(dW H dW^T) / tr(W H W^T), which GPTQ and its kin minimise (GPTQ, arXiv 2210.17323, eq. 1); H
// itself is not formed, as a sample of fewer rows than columns is cheaper. Of the embedding, whose
// inputs are one-hot: the mean over the calibration tokens. Of a tied embedding, which is
// multiplied too: the sum of both errors, and the product's gain. The error is 0 for the stored
// format and not finite where the outputs are not. Costs n k rows() multiply-adds per format, and
// as many for the unmodified weights; the same bits for any number of threads. Errors: kCancelled
// on interruption, those of encoding the component.
absl::StatusOr<std::vector<OutputChange>> OutputChanges(const InputSample& sample,
                                                        ComponentId component,
                                                        std::span<const Format> formats,
                                                        EncodingBank* bank,
                                                        int threads,
                                                        Progress* progress);

// The errors of OutputChanges.
absl::StatusOr<std::vector<double>> OutputErrors(const InputSample& sample,
                                                 ComponentId component,
                                                 std::span<const Format> formats,
                                                 EncodingBank* bank,
                                                 int threads,
                                                 Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_OUTPUT_ERROR_H_
