#include "runtime/training/layer_error.h"

#include <algorithm>

#include "runtime/base/status_macros.h"

namespace bitbudget {

TensorView ViewOfMatrix(const Matrix<float>& matrix) {
  return ViewOf({matrix.data(), static_cast<size_t>(matrix.size())}, matrix.rows(), matrix.cols());
}

int64_t LongestOf(std::span<const int64_t> lengths) {
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

double RelativeDistance(const Matrix<float>& a, const Matrix<float>& b) {
  double error = 0;
  double norm = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a.data()[i]) - b.data()[i];
    error += difference * difference;
    norm += static_cast<double>(b.data()[i]) * b.data()[i];
  }
  return error == 0 ? 0 : error / norm;
}

absl::StatusOr<LayerParameters<float>> EncodedLayer(const LayerParameters<float>& parameters,
                                                    const Encoder& encoder,
                                                    const Format& format,
                                                    int threads) {
  LayerParameters<float> encoded = parameters;
  for (Matrix<float>& matrix : encoded.matrices) {
    BB_ASSIGN_OR_RETURN(const Encoding encoding,
                        encoder.Encode(ViewOfMatrix(matrix), format, {}, threads));
    DecodeReference(encoding, {matrix.data(), static_cast<size_t>(matrix.size())});
  }
  return encoded;
}

}  // namespace bitbudget
