#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_CLIPPING_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_CLIPPING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/quantize/clipping.h"
#include "runtime/training/trained_matrix.h"

namespace bitbudget {

// Dense integer formats whose grids span a learned part of the range of every group of the original
// weights (learnable weight clipping; OmniQuant, arXiv 2308.13137, section 3.2). Starts at the
// grids of an encoding; its codes are the nearest ones.
class TrainedClipping final : public TrainedMatrix {
 public:
  TrainedClipping(const Matrix<float>& original, const Encoding& start);

  std::vector<ParameterArray*> parameters() override;
  void Decode(int threads, Matrix<float>* image) const override;
  void Backward(const Matrix<float>& d_image, int threads) override;
  Encoding Encode(int threads) const override;

  // Other weights [rows, cols] to round, of whose groups the grids span the same part.
  void SetOriginal(const Matrix<float>& original, int threads);
  // The gradient by the weights that are rounded, given that by the image.
  Matrix<float> WeightGradient(const Matrix<float>& d_image, int threads) const;

 private:
  std::span<const float> Group(const Matrix<float>& m, int64_t row, int64_t group) const;
  GroupClipping::Logits LogitsOf(int64_t index) const {
    return {highs_.values[index],
            lows_.values.empty() ? 0.0 : static_cast<double>(lows_.values[index]),
            signs_[index]};
  }

  Matrix<float> original_;
  const Encoding start_;
  const int64_t groups_;                  // per row
  std::vector<GroupClipping> clippings_;  // [rows, groups]
  std::vector<double> signs_;             // of Logits
  ParameterArray highs_;                  // logits [rows, groups]
  ParameterArray lows_;                   // the same, of formats with zero points
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_CLIPPING_H_
