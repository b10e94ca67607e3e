#include "runtime/eval/bounded_argmax.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "runtime/base/parallel.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "runtime/quantize/rtn_encoder.h"

namespace bitbudget {
namespace {

constexpr int64_t kChunkRows = 512;  // of the head, whole panels; the unit of the screen
constexpr Format kScreenFormat{FormatKind::kInteger, 8, 128, false};
constexpr double kEpsilon = 0x1p-24;  // of one float rounding
// Logits may not come near the largest float: then a sum could overflow on one side of a bound.
constexpr double kLargestLogit = 1e37;
// Sums of products that underflow are off by less than this, for any k.
constexpr double kUnderflow = 1e-30;

float RoundedUp(double value) {
  return std::nextafter(static_cast<float>(value), std::numeric_limits<float>::infinity());
}

// Row `row` of f32 panels.
void ReadPanelRow(const WeightPanels& panels, int64_t row, std::span<float> out) {
  const float* from =
      panels.f32.data() + row / kPanelWidth * panels.padded_k * kPanelWidth + row % kPanelWidth;
  for (int64_t i = 0; i < panels.k; ++i) out[i] = from[i * kPanelWidth];
}

}  // namespace

BoundedArgmax::BoundedArgmax(const WeightPanels& head, double soft_cap, int threads)
    : screen_((head.n + kChunkRows - 1) / kChunkRows),
      norms_(head.n),
      soft_cap_(static_cast<float>(soft_cap)) {
  CHECK(head.path == Path::kF32);
  const std::unique_ptr<Encoder> encoder = MakeRtnEncoder();
  ParallelFor(threads, static_cast<int64_t>(screen_.size()), [&](int64_t chunk, int) {
    const int64_t first = chunk * kChunkRows;
    const int64_t count = std::min(kChunkRows, head.n - first);
    std::vector<float> rows(count * head.k);
    std::vector<float> decoded(head.k);
    for (int64_t i = 0; i < count; ++i) {
      ReadPanelRow(head, first + i, std::span(rows).subspan(i * head.k, head.k));
    }
    const auto encoding = encoder->Encode(ViewOf(rows, count, head.k), kScreenFormat);
    for (int64_t i = 0; i < count; ++i) {
      double weights = 0;
      double quantised = 0;
      double error = 0;
      if (encoding.ok()) DecodeReferenceRow(*encoding, i, decoded);
      for (int64_t j = 0; j < head.k; ++j) {
        const double w = rows[i * head.k + j];
        const double q = decoded[j];
        weights += w * w;
        quantised += q * q;
        error += (w - q) * (w - q);
      }
      // Sums of k squares in double are exact to far less than a float rounding.
      norms_[first + i] = {RoundedUp(std::sqrt(weights)),
                           RoundedUp(std::sqrt(quantised)),
                           RoundedUp(std::sqrt(error))};
    }
    // Rows that int8 cannot hold are never excluded.
    if (encoding.ok()) screen_[chunk] = PackWeights(*encoding);
  });
  for (const RowNorms& norms : norms_) {
    largest_norm_ = std::max<double>(largest_norm_, norms.weights);
  }
}

float BoundedArgmax::ExactLogit(const WeightPanels& head,
                                const PackedActivations& row,
                                int32_t token) const {
  alignas(64) float tile[kTileRows * kPanelWidth];
  const int64_t stride = head.padded_k * kPanelWidth;
  Kernels().tile_f32(row.f32.data(),
                     head.f32.data() + token / kPanelWidth * stride,
                     stride,
                     head.k,
                     /*rows=*/1,
                     /*panels=*/1,
                     /*accumulate=*/false,
                     tile,
                     kPanelWidth);
  float* const logit = tile + token % kPanelWidth;
  if (soft_cap_ > 0) Kernels().soft_cap(logit, 1, soft_cap_, 1);
  return *logit;
}

double BoundedArgmax::Uncapped(float capped) const {
  if (soft_cap_ == 0) return capped;
  // cap * tanh(x / cap) grows with x, and soft_cap is off by at most 12 roundings of it.
  const double least = (capped - 13 * kEpsilon * soft_cap_) / soft_cap_;
  return least > -1 ? soft_cap_ * std::atanh(least) : -INFINITY;
}

bool BoundedArgmax::PassesLikely(const WeightPanels& head,
                                 const float* x,
                                 int32_t expected,
                                 std::span<const int32_t> likely,
                                 float* logit,
                                 Workspace* workspace) const {
  PackActivations(Path::kF32, x, head.k, 1, head.k, &workspace->exact);
  *logit = ExactLogit(head, workspace->exact, expected);
  if (!std::isfinite(*logit)) return false;
  for (const int32_t token : likely) {
    if (token == expected) continue;
    const float rival = ExactLogit(head, workspace->exact, token);
    // What is not finite makes every argmax a miss.
    if (!std::isfinite(rival) || rival > *logit || (rival == *logit && token < expected)) {
      return false;
    }
  }
  return true;
}

int64_t BoundedArgmax::FirstMiss(const WeightPanels& head,
                                 const float* x,
                                 int64_t rows,
                                 std::span<const int32_t> expected,
                                 std::span<const int32_t> likely,
                                 Workspace* ws) const {
  CHECK_EQ(static_cast<int64_t>(expected.size()), rows);
  const int64_t k = head.k;
  const size_t each = rows > 0 ? likely.size() / static_cast<size_t>(rows) : 0;
  ws->expected_logits.resize(rows);
  for (int64_t row = 0; row < rows; ++row) {
    if (!PassesLikely(head,
                      x + row * k,
                      expected[row],
                      likely.subspan(row * each, each),
                      &ws->expected_logits[row],
                      ws)) {
      rows = row;  // what comes later cannot be the first
    }
  }
  if (rows == 0) return 0;

  PackActivations(Path::kInt16, x, k, rows, k, &ws->screened);
  ws->norms.assign(rows, {});
  for (int64_t row = 0; row < rows; ++row) {
    const double scale = ws->screened.scales[row];
    Workspace::Norms& norms = ws->norms[row];
    for (int64_t i = 0; i < k; ++i) {
      const double h = x[row * k + i];
      const double rounded = scale * ws->screened.WideCode(row, i);
      norms.exact += h * h;
      norms.error += (h - rounded) * (h - rounded);
      norms.rounded += rounded * rounded;
    }
    norms = {std::sqrt(norms.exact), std::sqrt(norms.error), std::sqrt(norms.rounded)};
  }

  // Roundings of a chain of k fused multiply-adds, and of the screen's: one per flush group, and
  // those of the integer sum, the scales' product and the sum's start. 1.001 covers second order.
  const double exact_rounding = 1.001 * static_cast<double>(k + 1) * kEpsilon;
  for (size_t chunk = 0; chunk < screen_.size() && rows > 0; ++chunk) {
    const WeightPanels& screen = screen_[chunk];
    const int64_t first = static_cast<int64_t>(chunk) * kChunkRows;
    const int64_t count = std::min(kChunkRows, head.n - first);
    const bool screened = screen.n == count;
    const double screen_rounding = 1.001 * static_cast<double>(screen.flush_groups + 4) * kEpsilon;
    if (screened) {
      ws->logits.Resize(ws->screened.m * count);
      Linear(ws->screened, screen, ws->logits.data(), count);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const Workspace::Norms& h = ws->norms[row];
      const float logit = ws->expected_logits[row];
      const double least_rival = Uncapped(logit);
      const bool bounded = screened && h.exact * largest_norm_ < kLargestLogit;
      bool packed = false;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t token = first + i;
        const RowNorms& w = norms_[token];
        if (bounded) {
          const double bound = w.error * h.exact + w.quantised * h.error +
                               w.quantised * h.rounded * screen_rounding +
                               w.weights * h.exact * exact_rounding + kUnderflow;
          if (ws->logits[row * count + i] + 1.001 * bound < least_rival) continue;
        }
        if (token == expected[row]) continue;
        if (!packed) PackActivations(Path::kF32, x + row * k, k, 1, k, &ws->exact);
        packed = true;
        const float rival = ExactLogit(head, ws->exact, static_cast<int32_t>(token));
        if (!std::isfinite(rival) || rival > logit || (rival == logit && token < expected[row])) {
          rows = row;
          break;
        }
      }
    }
  }
  return rows;
}

}  // namespace bitbudget
