#include "runtime/training/trained_signs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/base/parallel.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/tensor/one_bit.h"

namespace bitbudget {
namespace {

std::vector<float> ReadHalves(const uint8_t* from, int64_t count) {
  std::vector<float> out(count);
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, from + 2 * i, sizeof(bits));
    out[i] = HalfToFloat(bits);
  }
  return out;
}

std::vector<float> Grown(const std::vector<float>& start, const ParameterArray& logs) {
  std::vector<float> out = start;
  for (size_t i = 0; i < logs.values.size(); ++i) out[i] *= std::exp(logs.values[i]);
  return out;
}

// Values that f16 cannot hold stay those of the start.
void WriteHalves(const std::vector<float>& values, uint8_t* to) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = FloatToHalf(values[i]);
    if (std::isfinite(HalfToFloat(bits))) std::memcpy(to + 2 * i, &bits, sizeof(bits));
  }
}

}  // namespace

TrainedSigns::TrainedSigns(const Matrix<float>& original, const Encoding& start, TrainedParts parts)
    : start_(start), parts_(parts) {
  const OneBitLayout layout(start.rows, start.cols);
  g_ = ReadHalves(start.bytes.data() + layout.g_offset, start.cols);
  h_ = ReadHalves(start.bytes.data() + layout.h_offset, start.rows);
  weights_.unit = RootMeanSquare(original);
  weights_.values.resize(original.size());
  for (int64_t row = 0; row < start.rows; ++row) {
    const uint8_t* const signs = start.bytes.data() + row * layout.sign_row_bytes;
    for (int64_t i = 0; i < start.cols; ++i) {
      const bool negative = (signs[i / 8] >> (i % 8) & 1) != 0;
      const float size = std::abs(original(row, i));
      // -0 counts as positive, so a weight of 0 whose sign is negative moves a little.
      weights_.values[row * start.cols + i] =
          negative ? -std::max(size, weights_.unit * 1e-6f) : size;
    }
  }
  if (!parts.scales) return;
  for (ParameterArray* logs : {&g_logs_, &h_logs_}) logs->kind = ParameterKind::kLogScales;
  g_logs_.values.assign(start.cols, 0.0f);
  h_logs_.values.assign(start.rows, 0.0f);
}

std::vector<ParameterArray*> TrainedSigns::parameters() {
  std::vector<ParameterArray*> arrays;
  if (parts_.weights) arrays.push_back(&weights_);
  if (parts_.scales) arrays.insert(arrays.end(), {&g_logs_, &h_logs_});
  return arrays;
}

void TrainedSigns::Decode(int threads, Matrix<float>* image) const {
  image->resize(start_.rows, start_.cols);
  const std::vector<float> g = Grown(g_, g_logs_);
  const std::vector<float> h = Grown(h_, h_logs_);
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    const float* const weights = weights_.values.data() + row * start_.cols;
    for (int64_t i = 0; i < start_.cols; ++i) {
      const float size = g[i] * h[row];
      (*image)(row, i) = weights[i] < 0 ? -size : size;
    }
  });
}

// The gradient by a latent weight is that by its sign times (1.001 - tanh(w)^2), OneBit's code.
void TrainedSigns::Backward(const Matrix<float>& d_image, int threads) {
  const std::vector<float> g = Grown(g_, g_logs_);
  const std::vector<float> h = Grown(h_, h_logs_);
  if (parts_.weights) weights_.gradient.resize(weights_.values.size());
  h_logs_.gradient.assign(h_logs_.values.size(), 0.0f);
  Matrix<float> by_size(start_.rows, start_.cols);  // d_image * image
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    const float* const weights = weights_.values.data() + row * start_.cols;
    double sum = 0;
    for (int64_t i = 0; i < start_.cols; ++i) {
      const float size = g[i] * h[row];
      const float d = d_image(row, i);
      by_size(row, i) = weights[i] < 0 ? -d * size : d * size;
      sum += static_cast<double>(by_size(row, i));
      if (!parts_.weights) continue;
      const float bent = std::tanh(weights[i]);
      weights_.gradient[row * start_.cols + i] = d * size * (1.001f - bent * bent);
    }
    if (parts_.scales) h_logs_.gradient[row] = static_cast<float>(sum);
  });
  if (!parts_.scales) return;
  const Eigen::Matrix<double, 1, Eigen::Dynamic> sums = by_size.cast<double>().colwise().sum();
  g_logs_.gradient.resize(g_logs_.values.size());
  for (int64_t i = 0; i < start_.cols; ++i) g_logs_.gradient[i] = static_cast<float>(sums[i]);
}

Encoding TrainedSigns::Encode(int /*threads*/) const {
  Encoding encoding = start_;
  const OneBitLayout layout(start_.rows, start_.cols);
  for (int64_t row = 0; row < start_.rows; ++row) {
    uint8_t* const signs = encoding.bytes.data() + row * layout.sign_row_bytes;
    std::fill_n(signs, layout.sign_row_bytes, uint8_t{0});
    for (int64_t i = 0; i < start_.cols; ++i) {
      if (weights_.values[row * start_.cols + i] < 0) {
        signs[i / 8] = static_cast<uint8_t>(signs[i / 8] | 1 << (i % 8));
      }
    }
  }
  WriteHalves(Grown(g_, g_logs_), encoding.bytes.data() + layout.g_offset);
  WriteHalves(Grown(h_, h_logs_), encoding.bytes.data() + layout.h_offset);
  return encoding;
}

}  // namespace bitbudget
