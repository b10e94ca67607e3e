#include "runtime/training/streams.h"

#include <algorithm>
#include <numeric>

namespace bitbudget {

LayerInputs Gather(const Streams& streams, std::span<const int64_t> sequences) {
  LayerInputs batch;
  int64_t rows = 0;
  for (const int64_t s : sequences) {
    batch.lengths.push_back(streams[s].rows());
    rows += streams[s].rows();
  }
  batch.x.resize(rows, streams.front().cols());
  rows = 0;
  for (const int64_t s : sequences) {
    batch.x.middleRows(rows, streams[s].rows()) = streams[s];
    rows += streams[s].rows();
  }
  return batch;
}

Streams Embedded(const Matrix<float>& embedding,
                 float scale,
                 std::span<const std::vector<int32_t>> sequences) {
  Streams streams;
  for (const std::vector<int32_t>& sequence : sequences) {
    Matrix<float>& x =
        streams.emplace_back(static_cast<int64_t>(sequence.size()), embedding.cols());
    for (int64_t row = 0; row < x.rows(); ++row) x.row(row) = embedding.row(sequence[row]) * scale;
  }
  return streams;
}

void Advance(const DecoderLayer<float>& decoder,
             const LayerWeights<float>& weights,
             Streams* streams) {
  LayerTrace<float> trace;
  for (size_t first = 0; first < streams->size(); first += kStreamBatch) {
    std::vector<int64_t> batch(std::min(kStreamBatch, streams->size() - first));
    std::iota(batch.begin(), batch.end(), static_cast<int64_t>(first));
    decoder.Forward(weights, Gather(*streams, batch), &trace);
    int64_t row = 0;
    for (const int64_t s : batch) {
      Matrix<float>& x = (*streams)[s];
      x = trace.outputs.middleRows(row, x.rows());
      row += x.rows();
    }
  }
}

double RelativeError(const Streams& a, const Streams& b) {
  double difference = 0;
  double norm = 0;
  for (size_t s = 0; s < a.size(); ++s) {
    difference += (a[s] - b[s]).cast<double>().squaredNorm();
    norm += b[s].cast<double>().squaredNorm();
  }
  return norm == 0 ? 0 : difference / norm;
}

double MeanSquare(const Streams& streams) {
  double sum = 0;
  int64_t values = 0;
  for (const Matrix<float>& x : streams) {
    sum += x.cast<double>().squaredNorm();
    values += x.size();
  }
  return values == 0 ? 0 : sum / static_cast<double>(values);
}

}  // namespace bitbudget
