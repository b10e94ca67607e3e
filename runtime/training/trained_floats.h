#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_FLOATS_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_FLOATS_H_

#include <cstdint>
#include <vector>

#include "runtime/training/trained_matrix.h"

namespace bitbudget {

// Sparse float formats: the weights that the mask keeps. Dense f32: all weights.
class TrainedFloats final : public TrainedMatrix {
 public:
  TrainedFloats(const Matrix<float>& original, const Encoding& start, TrainedParts parts);

  std::vector<ParameterArray*> parameters() override;
  void Decode(int threads, Matrix<float>* image) const override;
  void Backward(const Matrix<float>& d_image, int threads) override;
  Encoding Encode(int threads) const override;

 private:
  const Encoding start_;
  const TrainedParts parts_;
  std::vector<uint8_t> kept_;  // [rows, cols]
  ParameterArray weights_;     // [rows, cols]
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_FLOATS_H_
