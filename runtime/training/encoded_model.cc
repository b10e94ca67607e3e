#include "runtime/training/encoded_model.h"

#include <algorithm>
#include <numeric>

namespace bitbudget {
namespace {

// Sequences that run side by side where only their outputs count.
constexpr size_t kBatch = 4;

}  // namespace

Matrix<float> DecodedMatrix(const Model& model,
                            const ComponentEncodings& encodings,
                            ComponentId component) {
  const auto found = encodings.find(component);
  if (found == encodings.end()) return ReadMatrix(model, component);
  Matrix<float> matrix(found->second.rows, found->second.cols);
  DecodeReference(found->second, {matrix.data(), static_cast<size_t>(matrix.size())});
  return matrix;
}

LayerParameters<float> DecodedLayer(const Model& model, const EncodedModel& encoded, int layer) {
  const ComponentEncodings& encodings = encoded.encodings;
  LayerParameters<float> parameters = ReadLayer<float>(model, layer);
  if (const auto own = encoded.vectors.find(layer); own != encoded.vectors.end()) {
    SetVectors(own->second, &parameters);
  }
  for (int i = 0; i < kLayerMatrices; ++i) {
    const ComponentId id = LayerComponentId(layer, i);
    const auto found = encodings.find(id);
    if (found == encodings.end()) continue;
    parameters.matrices[i] = DecodedMatrix(model, encodings, id);
    parameters.normalised[i] = found->second.format.layer_norm;
  }
  return parameters;
}

std::unique_ptr<ModelEnds<float>> DecodedEnds(const Model& model, const EncodedModel& encoded) {
  const ComponentEncodings& encodings = encoded.encodings;
  const std::vector<float>& norm = model.final_norm();
  std::optional<Matrix<float>> head;
  if (model.head() != 0) head = DecodedMatrix(model, encodings, model.head());
  return std::make_unique<ModelEnds<float>>(
      DecodedMatrix(model, encodings, 0),
      Eigen::Map<const RowVector<float>>(norm.data(), static_cast<int64_t>(norm.size())),
      std::move(head));
}

const LayerWeights<float>& DecodedLayers::Layer(int layer) {
  if (layer != layer_) {
    parameters_ = DecodedLayer(model_, encoded_, layer);
    weights_.emplace(parameters_);
    layer_ = layer;
  }
  return *weights_;
}

absl::StatusOr<std::unique_ptr<OriginalOutputs>> OriginalOutputs::Create(
    const Model& model,
    std::span<const std::vector<int32_t>> sequences,
    int threads,
    Progress* progress) {
  std::unique_ptr<OriginalOutputs> outputs(new OriginalOutputs(
      model, {.max_positions = LongestSequence(sequences), .threads = threads}));
  CheckpointLayers<float> layers(model);
  for (size_t first = 0; first < sequences.size(); first += kBatch) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const auto batch = sequences.subspan(first, std::min(kBatch, sequences.size() - first));
    outputs->pass_.Forward(*outputs->ends_, &layers, batch);
    const Matrix<float> normed = outputs->pass_.Normed(*outputs->ends_);
    int64_t row = 0;
    for (const std::vector<int32_t>& sequence : batch) {
      const auto count = static_cast<int64_t>(sequence.size());
      outputs->normed_.emplace_back(normed.middleRows(row, count));
      row += count;
    }
  }
  return outputs;
}

Distillation<float>::Reference OriginalOutputs::LogitsOf(std::span<const int64_t> sequences) const {
  // Rows of the batch come from consecutive sequences.
  std::vector<const Matrix<float>*> parts;
  for (const int64_t sequence : sequences) parts.push_back(&normed_[sequence]);
  return [this, parts](int64_t first, int64_t count) {
    Matrix<float> rows(count, normed_.front().cols());
    int64_t begin = 0;  // of a part, in the batch
    for (const Matrix<float>* part : parts) {
      const int64_t from = std::max(first, begin);
      const int64_t end = std::min(first + count, begin + part->rows());
      if (from < end)
        rows.middleRows(from - first, end - from) = part->middleRows(from - begin, end - from);
      begin += part->rows();
    }
    return pass_.Logits(*ends_, rows);
  };
}

absl::StatusOr<double> MeanDivergence(const Model& model,
                                      const EncodedModel& encoded,
                                      std::span<const std::vector<int32_t>> sequences,
                                      const OriginalOutputs& original,
                                      int token_bits,
                                      int threads,
                                      Progress* progress) {
  const std::unique_ptr<ModelEnds<float>> ends = DecodedEnds(model, encoded);
  DecodedLayers layers(model, encoded);
  ModelGradient<float> pass(
      model,
      {.max_positions = LongestSequence(sequences), .token_bits = token_bits, .threads = threads});
  double sum = 0;
  int64_t rows = 0;
  for (size_t first = 0; first < sequences.size(); first += kBatch) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const auto batch = sequences.subspan(first, std::min(kBatch, sequences.size() - first));
    pass.Forward(*ends, &layers, batch);
    std::vector<int64_t> indices(batch.size());
    std::iota(indices.begin(), indices.end(), static_cast<int64_t>(first));
    Distillation<float> divergence(
        original.LogitsOf(indices), std::vector<int32_t>(pass.rows(), -1), 1.0);
    sum += pass.Loss(*ends, &divergence) * static_cast<double>(pass.rows());
    rows += pass.rows();
  }
  return rows == 0 ? 0.0 : sum / static_cast<double>(rows);
}

int64_t LongestSequence(std::span<const std::vector<int32_t>> sequences) {
  size_t longest = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    longest = std::max(longest, sequence.size());
  }
  return static_cast<int64_t>(longest);
}

}  // namespace bitbudget
