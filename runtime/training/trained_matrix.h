#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_MATRIX_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_MATRIX_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/quantize/matrix.h"
#include "runtime/tensor/encoding.h"
#include "runtime/training/adamw.h"

namespace bitbudget {

// Which parameters of a matrix are trained. Codes follow from the latent weights, so without them
// they stay.
struct TrainedParts {
  bool weights = true;
  bool scales = true;  // of formats that have free ones
  // In place of both: how much of a group's range its grid spans. Dense integer formats only.
  bool clipping = false;
  // Dense f32 matrices too, which recovery leaves alone.
  bool dense_floats = false;
  // Norms and biases of the layers, which belong to no matrix.
  bool vectors = false;
};

// A matrix in a format, as a function of parameters that training can move: its image is what the
// format makes of them, and gradients pass straight through the rounding (straight-through
// estimator). Starts as an encoding. Latent weights start at the original ones, moved into the
// cells of the start's codes where these are others: weights that sit in the middle of their cells
// would hardly ever change their codes.
//
// Integer formats: latent weights and the logarithm of every group's scale; zero points stay.
// Block formats: latent weights on the start's grids. Sparse formats keep their mask. One-bit
// formats: latent weights, of which the signs count, and the logarithms of g and h (OneBit, arXiv
// 2402.11295, section 3). The norm behind onebit-ln has no parameters and is the layer's part
// (LayerParameters::normalised).
class TrainedMatrix {
 public:
  virtual ~TrainedMatrix() = default;

  // What is trained, with gradients of the last Backward(). Valid as long as the matrix.
  virtual std::vector<ParameterArray*> parameters() = 0;

  // The values that the parameters stand for now, scales not yet rounded to f16.
  virtual void Decode(int threads, Matrix<float>* image) const = 0;

  // Sets the parameters' gradients, given that by the image.
  virtual void Backward(const Matrix<float>& d_image, int threads) = 0;

  // The encoding that the parameters stand for now.
  virtual Encoding Encode(int threads) const = 0;
};

// The unit of the rates of a matrix's weights (ParameterArray::unit).
float RootMeanSquare(const Matrix<float>& weights);

// kInvalidArgument when matrices in this format have no parameters, or none that can be trained.
absl::Status CheckTrainable(const Format& format);

// `original` are the weights [rows, cols] of the unmodified model. REQUIRES: a trainable format, an
// original that is finite.
std::unique_ptr<TrainedMatrix> MakeTrainedMatrix(const Matrix<float>& original,
                                                 const Encoding& start,
                                                 TrainedParts parts);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_MATRIX_H_
