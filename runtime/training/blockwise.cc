#include "runtime/training/blockwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/training/adamw.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/layer_error.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/trained_matrix.h"

namespace bitbudget {
namespace {

constexpr int64_t kEpochs = 10;
constexpr uint64_t kOrderStream = 0x626c6f63;
constexpr size_t kForwardBatch = 4;  // sequences that run side by side without training

using Streams = std::vector<Matrix<float>>;  // [rows, hidden] by sequence

// The streams of some sequences as one batch.
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

// Replaces streams by what a layer makes of them.
void Advance(const DecoderLayer<float>& decoder,
             const LayerWeights<float>& weights,
             Streams* streams) {
  LayerTrace<float> trace;
  for (size_t first = 0; first < streams->size(); first += kForwardBatch) {
    std::vector<int64_t> batch(std::min(kForwardBatch, streams->size() - first));
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

// ||a - b||^2 / ||b||^2 over all streams.
double RelativeError(const Streams& a, const Streams& b) {
  double difference = 0;
  double norm = 0;
  for (size_t s = 0; s < a.size(); ++s) {
    difference += (a[s] - b[s]).cast<double>().squaredNorm();
    norm += b[s].cast<double>().squaredNorm();
  }
  return norm == 0 ? 0 : difference / norm;
}

// The streams of one set of sequences, ahead of a layer.
struct StreamPair {
  Streams recovered;  // in the model that is recovered
  Streams original;   // in the original one
};

class Blockwise {
 public:
  Blockwise(const ComponentEncodings& start, RecoveryRun* run)
      : run_(*run), model_(run->model()), options_(run->options()) {
    result_.encodings = start;
    const int64_t sequences = static_cast<int64_t>(run->data().training.size());
    const int64_t per_epoch = (sequences + options_.batch - 1) / options_.batch;
    steps_ = options_.steps > 0 ? options_.steps : kEpochs * per_epoch;
  }

  absl::StatusOr<MethodResult> Run();

 private:
  // Trains a layer, given its inputs in the recovered model and the outputs wanted.
  absl::StatusOr<ComponentEncodings> TrainLayer(int layer,
                                                const LayerParameters<float>& original,
                                                const Streams& inputs,
                                                const Streams& wanted);
  DecoderLayer<float> Decoder(int layer, int token_bits) const {
    return DecoderLayer<float>(
        model_.config(),
        layer,
        {.max_positions = max_positions_, .token_bits = token_bits, .threads = options_.threads});
  }
  StreamPair Start(std::span<const std::vector<int32_t>> sequences) const {
    const float scale = model_.config().embedding_scale;
    return {Embedded(DecodedMatrix(model_, result_.encodings, 0), scale, sequences),
            Embedded(ReadMatrix(model_.Weight(0)), scale, sequences)};
  }
  bool Trains(int layer) const {
    for (int i = 0; i < kLayerMatrices; ++i) {
      const auto found = result_.encodings.find(LayerComponentId(layer, i));
      if (found != result_.encodings.end() && CheckTrainable(found->second.format).ok())
        return true;
    }
    return false;
  }

  RecoveryRun& run_;
  const Model& model_;
  const RecoveryOptions& options_;
  MethodResult result_;
  int64_t steps_ = 0;  // per layer
  int64_t max_positions_ = 0;
};

absl::StatusOr<ComponentEncodings> Blockwise::TrainLayer(int layer,
                                                         const LayerParameters<float>& original,
                                                         const Streams& inputs,
                                                         const Streams& wanted) {
  std::array<std::unique_ptr<TrainedMatrix>, kLayerMatrices> trained;
  LayerBackward<float> backward;
  std::vector<ParameterArray*> arrays;
  std::vector<double> rates;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const auto found = result_.encodings.find(LayerComponentId(layer, i));
    backward.frozen[i] = true;
    if (found == result_.encodings.end()) continue;
    const Encoding& start = found->second;
    if (!CheckTrainable(start.format).ok()) continue;
    backward.frozen[i] = false;
    trained[i] = MakeTrainedMatrix(original.matrices[i], start, {});
    for (ParameterArray* array : trained[i]->parameters()) {
      arrays.push_back(array);
      const double own = array->kind == ParameterKind::kLogScales ? kScaleRate
                         : options_.learning_rate > 0             ? options_.learning_rate
                                                                  : WeightRate(start.format);
      rates.push_back(own);
    }
  }
  LayerParameters<float> parameters = DecodedLayer(model_, result_.encodings, layer);
  const DecoderLayer<float> decoder = Decoder(layer, options_.token_bits);
  double square = 0;  // of what the loss is measured in: a mean square of the outputs wanted
  int64_t values = 0;
  for (const Matrix<float>& x : wanted) {
    square += x.cast<double>().squaredNorm();
    values += x.size();
  }
  square = square > 0 ? square / static_cast<double>(values) : 1;

  AdamW optimiser;
  std::vector<int64_t> order(inputs.size());
  std::vector<double> now(rates.size());
  LayerParameters<float> gradient;
  LayerTrace<float> trace;
  size_t next = order.size();  // in the order of the epoch
  uint64_t epoch = 0;
  for (int64_t step = 0; step < steps_; ++step) {
    if (run_.MustStop()) return absl::CancelledError("interrupted");
    if (next >= order.size()) {
      std::iota(order.begin(), order.end(), 0);
      Random(options_.seed, {kOrderStream, static_cast<uint64_t>(layer), epoch++}).Shuffle(order);
      next = 0;
    }
    const size_t count = std::min(static_cast<size_t>(options_.batch), order.size() - next);
    const auto batch = std::span(order).subspan(next, count);
    next += count;
    for (int i = 0; i < kLayerMatrices; ++i) {
      if (trained[i] != nullptr) trained[i]->Decode(options_.threads, &parameters.matrices[i]);
    }
    const LayerWeights<float> weights(parameters);
    const LayerInputs rows = Gather(inputs, batch);
    decoder.Forward(weights, rows, &trace);
    const Matrix<float> difference = trace.outputs - Gather(wanted, batch).x;
    const double per_value = 1 / (square * static_cast<double>(difference.size()));
    const double loss = difference.cast<double>().squaredNorm() * per_value;
    BB_RETURN_IF_ERROR(CheckLoss(loss, rates.front()));
    backward.gradient = &gradient;
    decoder.Backward(
        weights, rows, trace, difference * static_cast<float>(2 * per_value), backward);
    for (int i = 0; i < kLayerMatrices; ++i) {
      if (trained[i] != nullptr) trained[i]->Backward(gradient.matrices[i], options_.threads);
    }
    for (size_t a = 0; a < rates.size(); ++a) {
      now[a] = CosineRate(rates[a], step, steps_, steps_ / 20);
    }
    optimiser.Step(arrays, now, options_.threads);
    ++result_.steps;
    run_.progress()->Update(layer * steps_ + step + 1,
                            absl::StrFormat("layer %d of %d, error %.3g, rate %.2g",
                                            layer + 1,
                                            model_.config().num_hidden_layers,
                                            loss,
                                            now.front()));
  }
  ComponentEncodings encodings;
  for (int i = 0; i < kLayerMatrices; ++i) {
    if (trained[i] == nullptr) continue;
    encodings[LayerComponentId(layer, i)] = trained[i]->Encode(options_.threads);
  }
  return encodings;
}

absl::StatusOr<MethodResult> Blockwise::Run() {
  const RecoveryData& data = run_.data();
  max_positions_ = std::max(LongestSequence(data.training), LongestSequence(data.kept_aside));
  const int layers = static_cast<int>(model_.config().num_hidden_layers);
  int64_t first_layer = 0;
  if (const SavedState saved = run_.Resume(); !saved.empty()) {
    BB_ASSIGN_OR_RETURN(result_.encodings, LoadEncodings(saved, "layer/", result_.encodings));
    BB_ASSIGN_OR_RETURN(first_layer, LoadInteger(saved, "layers"));
    BB_ASSIGN_OR_RETURN(result_.steps, LoadInteger(saved, "steps"));
  }
  StreamPair training = Start(data.training);
  StreamPair kept_aside = Start(data.kept_aside);
  run_.progress()->Begin("blockwise", layers * steps_);
  for (int layer = 0; layer < layers; ++layer) {
    const LayerParameters<float> original = ReadLayer<float>(model_, layer);
    {
      const LayerWeights<float> weights(original);
      const DecoderLayer<float> exact = Decoder(layer, 0);
      Advance(exact, weights, &training.original);
      Advance(exact, weights, &kept_aside.original);
    }
    const DecoderLayer<float> rounded = Decoder(layer, options_.token_bits);
    Streams kept_before = kept_aside.recovered;
    LayerParameters<float> decoded = DecodedLayer(model_, result_.encodings, layer);
    Advance(rounded, decoded, &kept_aside.recovered);
    if (layer >= first_layer && Trains(layer)) {
      absl::StatusOr<ComponentEncodings> found =
          TrainLayer(layer, original, training.recovered, training.original);
      if (absl::IsCancelled(found.status())) {
        result_.complete = false;
        break;
      }
      BB_RETURN_IF_ERROR(found.status());
      ComponentEncodings tried = result_.encodings;
      for (auto& [component, encoding] : *found) tried[component] = std::move(encoding);
      decoded = DecodedLayer(model_, tried, layer);
      Advance(rounded, decoded, &kept_before);
      if (RelativeError(kept_before, kept_aside.original) <
          RelativeError(kept_aside.recovered, kept_aside.original)) {
        result_.encodings = std::move(tried);
        kept_aside.recovered = std::move(kept_before);
      } else {
        decoded = DecodedLayer(model_, result_.encodings, layer);
      }
      SavedState state;
      SaveEncodings(result_.encodings, "layer/", &state);
      state["layers"] = absl::StrCat(layer + 1);
      state["steps"] = absl::StrCat(result_.steps);
      BB_RETURN_IF_ERROR(run_.Save(std::move(state)));
    }
    Advance(rounded, decoded, &training.recovered);
    run_.progress()->Update((layer + 1) * steps_);
  }
  run_.progress()->End();
  return std::move(result_);
}

}  // namespace

absl::StatusOr<MethodResult> RecoverBlockwise(const ComponentEncodings& start, RecoveryRun* run) {
  return Blockwise(start, run).Run();
}

}  // namespace bitbudget
