#include "runtime/quantize/svid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/one_bit.h"

namespace bitbudget {
namespace {

// The second singular value of |W| is a small part of the first (entries are all positive), so a
// few dozen steps do; the limit ends iterations on matrices whose values are all but equal, where
// every vector in their span is as good.
constexpr int kMaxSteps = 300;
constexpr double kConverged = 1e-9;  // of entries of a unit vector
constexpr int64_t kColumnsAtOnce = 256;

// a ~ h g^T
struct Pair {
  std::vector<double> g;  // [cols]
  std::vector<double> h;  // [rows]
};

// |W|, and the matrix products that power iteration needs.
class Magnitudes {
 public:
  Magnitudes(int64_t rows, int64_t cols, int threads)
      : rows_(rows), cols_(cols), threads_(threads), values_(rows * cols) {}

  std::span<float> Row(int64_t row) { return std::span(values_).subspan(row * cols_, cols_); }
  std::span<const float> Row(int64_t row) const {
    return std::span(values_).subspan(row * cols_, cols_);
  }

  // |W| v
  std::vector<double> Times(std::span<const double> v) const {
    std::vector<double> out(rows_);
    ParallelFor(threads_, rows_, [&](int64_t row, int) {
      const std::span<const float> values = Row(row);
      double sum = 0;
      for (int64_t i = 0; i < cols_; ++i) sum += static_cast<double>(values[i]) * v[i];
      out[row] = sum;
    });
    return out;
  }

  // |W|^T u
  std::vector<double> TransposedTimes(std::span<const double> u) const {
    std::vector<double> out(cols_);
    const int64_t chunks = (cols_ + kColumnsAtOnce - 1) / kColumnsAtOnce;
    ParallelFor(threads_, chunks, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kColumnsAtOnce;
      const int64_t end = std::min(cols_, begin + kColumnsAtOnce);
      for (int64_t row = 0; row < rows_; ++row) {
        const std::span<const float> values = Row(row);
        for (int64_t i = begin; i < end; ++i) out[i] += static_cast<double>(values[i]) * u[row];
      }
    });
    return out;
  }

  // The leading singular pair of |W| diag(factors), as |W| ~ h g^T. Columns of factor 0 get the g
  // that suits h best.
  Pair LeadingPair(std::span<const double> factors) const {
    const auto scale = [&](std::vector<double>* v) {
      for (int64_t i = 0; i < cols_; ++i) (*v)[i] *= factors[i];
    };
    std::vector<double> v(cols_, 1 / std::sqrt(static_cast<double>(cols_)));
    for (int step = 0; step < kMaxSteps; ++step) {
      std::vector<double> scaled = v;
      scale(&scaled);
      std::vector<double> next = TransposedTimes(Times(scaled));
      scale(&next);
      double squares = 0;
      for (const double value : next) squares += value * value;
      if (squares == 0) break;  // nothing but zeros where factors are not
      double moved = 0;
      for (int64_t i = 0; i < cols_; ++i) {
        next[i] /= std::sqrt(squares);
        moved = std::max(moved, std::abs(next[i] - v[i]));
      }
      v = std::move(next);
      if (moved < kConverged) break;
    }
    Pair pair{v, {}};
    std::vector<double> scaled = v;
    scale(&scaled);
    pair.h = Times(scaled);
    double squares = 0;
    for (const double value : pair.h) squares += value * value;
    std::vector<double> best;
    for (int64_t i = 0; i < cols_; ++i) {
      if (factors[i] > 0) {
        pair.g[i] = v[i] / factors[i];
        continue;
      }
      if (best.empty()) best = TransposedTimes(pair.h);
      pair.g[i] = squares > 0 ? best[i] / squares : 0;
    }
    return pair;
  }

  // Rounds a pair to f16: first g, then h as the least squares for that g. Both are multiplied by
  // powers of two so that their largest entries are alike, which keeps both away from the ends of
  // f16; any other split changes nothing but which entries round up. Infinite where f16 is too
  // small.
  Pair Rounded(const Pair& pair, std::span<const double> weights) const {
    const double g_most = *std::max_element(pair.g.begin(), pair.g.end());
    const double h_most = *std::max_element(pair.h.begin(), pair.h.end());
    if (!(g_most > 0 && h_most > 0)) {
      return {std::vector<double>(cols_), std::vector<double>(rows_)};
    }
    const int shift = static_cast<int>(std::lrint((std::log2(h_most) - std::log2(g_most)) / 2));
    Pair out = pair;
    std::vector<double> weighted(cols_);
    double energy = 0;
    for (int64_t i = 0; i < cols_; ++i) {
      out.g[i] = RoundToHalf(static_cast<float>(std::ldexp(pair.g[i], shift)));
      weighted[i] = weights[i] * out.g[i];
      energy += weighted[i] * out.g[i];
    }
    if (energy > 0 && std::isfinite(energy)) out.h = Times(weighted);
    for (double& value : out.h) {
      value = energy > 0 ? value / energy : std::ldexp(value, -shift);
      value = RoundToHalf(static_cast<float>(value));
    }
    return out;
  }

  // sum over i, j of weights[j] (|w_ij| - g_j h_i)^2
  double Error(const Pair& pair, std::span<const double> weights) const {
    std::vector<double> errors(rows_);
    ParallelFor(threads_, rows_, [&](int64_t row, int) {
      const std::span<const float> values = Row(row);
      for (int64_t i = 0; i < cols_; ++i) {
        const double error = values[i] - pair.g[i] * pair.h[row];
        errors[row] += weights[i] * error * error;
      }
    });
    double sum = 0;
    for (const double error : errors) sum += error;
    return sum;
  }

 private:
  int64_t rows_;
  int64_t cols_;
  int threads_;
  std::vector<float> values_;
};

bool Finite(std::span<const double> values) {
  return std::all_of(
      values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

void StoreHalves(std::span<const double> values, uint8_t* out) {
  for (const double value : values) {
    const uint16_t half = FloatToHalf(static_cast<float>(value));
    std::memcpy(out, &half, sizeof(half));
    out += sizeof(half);
  }
}

}  // namespace

absl::Status EncodeOneBit(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding) {
  const int64_t rows = weights.rows;
  const int64_t cols = weights.cols;
  const OneBitLayout layout(rows, cols);
  uint8_t* const bytes = encoding->bytes.data();
  Magnitudes magnitudes(rows, cols, threads);
  BB_RETURN_IF_ERROR(
      ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
        std::vector<uint8_t> negative(cols);
        const std::span<float> out = magnitudes.Row(row);
        for (int64_t i = 0; i < cols; ++i) {
          negative[i] = values[i] < 0;
          out[i] = std::abs(values[i]);
        }
        PackBits<uint8_t>(negative, 1, bytes + row * layout.sign_row_bytes);
        return absl::OkStatus();
      }));

  const std::vector<double> ones(cols, 1.0);
  const Pair plain = magnitudes.LeadingPair(ones);
  Pair best = magnitudes.Rounded(plain, ones);
  const bool weighted = std::any_of(
      stats.moments.begin(), stats.moments.end(), [](float moment) { return moment > 0; });
  if (weighted) {
    const std::vector<double> moments(stats.moments.begin(), stats.moments.end());
    std::vector<double> factors = moments;
    for (double& factor : factors) factor = std::sqrt(factor);
    double least = magnitudes.Error(best, moments);
    for (const Pair& pair : {magnitudes.Rounded(plain, moments),
                             magnitudes.Rounded(magnitudes.LeadingPair(factors), moments)}) {
      if (!Finite(pair.g) || !Finite(pair.h)) continue;
      const double error = magnitudes.Error(pair, moments);
      if (!(error < least)) continue;
      least = error;
      best = pair;
    }
  }
  if (!Finite(best.g) || !Finite(best.h)) {
    float largest = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const std::span<const float> values = magnitudes.Row(row);
      largest = std::max(largest, *std::max_element(values.begin(), values.end()));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("weights up to ",
                     largest,
                     " need vectors beyond the largest f16 (65504) in ",
                     encoding->format.Name(),
                     "; use bf16 or f32"));
  }
  StoreHalves(best.g, bytes + layout.g_offset);
  StoreHalves(best.h, bytes + layout.h_offset);
  return absl::OkStatus();
}

}  // namespace bitbudget
