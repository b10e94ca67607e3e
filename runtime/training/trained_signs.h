#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_SIGNS_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_SIGNS_H_

#include <vector>

#include "runtime/training/trained_matrix.h"

namespace bitbudget {

// One-bit formats: sign(W) * (h g^T).
class TrainedSigns final : public TrainedMatrix {
 public:
  TrainedSigns(const Matrix<float>& original, const Encoding& start, TrainedParts parts);

  std::vector<ParameterArray*> parameters() override;
  void Decode(int threads, Matrix<float>* image) const override;
  void Backward(const Matrix<float>& d_image, int threads) override;
  Encoding Encode(int threads) const override;

 private:
  const Encoding start_;
  const TrainedParts parts_;
  std::vector<float> g_, h_;  // of the start
  ParameterArray weights_;    // [rows, cols]
  ParameterArray g_logs_;     // [cols], of the growth of g
  ParameterArray h_logs_;     // [rows]
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_SIGNS_H_
