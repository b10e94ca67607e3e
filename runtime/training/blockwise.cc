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
#include "runtime/base/status_macros.h"
#include "runtime/training/adamw.h"
#include "runtime/training/batch_order.h"
#include "runtime/training/channel_ranges.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/layer_error.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/streams.h"
#include "runtime/training/trained_matrix.h"
#include "runtime/training/trained_transform.h"

namespace bitbudget {
namespace {

constexpr int64_t kEpochs = 10;
constexpr uint64_t kOrderStream = 0x626c6f63;
constexpr double kTransformRate = 5e-3;  // OmniQuant's
constexpr double kStartRatio = 0.5;      // SmoothQuant's

// The streams of one set of sequences, ahead of a layer.
struct StreamPair {
  Streams recovered;  // in the model that is recovered
  Streams original;   // in the original one
};

// What training a layer ended with.
struct TrainedLayer {
  ComponentEncodings encodings;
  std::optional<LayerVectors> vectors = {};  // where a transformation has changed them
  std::optional<double> diverged = {};       // the learning rate; there are no encodings then
};

// What the methods differ in.
struct LayerTraining {
  const char* name;
  TrainedParts parts;
  double scale_rate;
  bool augmented_loss;
  bool transform = false;
};

// The matrices of a layer that are trained, null where one is not, with their parameters and the
// highest learning rate of each.
struct LayerMatrices {
  std::array<std::unique_ptr<TrainedMatrix>, kLayerMatrices> trained;
  std::vector<ParameterArray*> arrays;
  std::vector<double> rates;

  void Decode(int threads, LayerParameters<float>* parameters) const {
    for (int i = 0; i < kLayerMatrices; ++i) {
      if (trained[i] != nullptr) trained[i]->Decode(threads, &parameters->matrices[i]);
    }
  }
  void Backward(const LayerParameters<float>& gradient, int threads) {
    for (int i = 0; i < kLayerMatrices; ++i) {
      if (trained[i] != nullptr) trained[i]->Backward(gradient.matrices[i], threads);
    }
  }
};

// A squared distance and its gradient.
struct Loss {
  double value = 0;
  Matrix<float> gradient;  // by x

  // Adds ||x - wanted||^2 * factor.
  void Add(const Matrix<float>& x, const Matrix<float>& wanted, double factor) {
    const Matrix<float> difference = x - wanted;
    value += difference.cast<double>().squaredNorm() * factor;
    const Matrix<float> slope = difference * static_cast<float>(2 * factor);
    gradient = gradient.size() == 0 ? slope : Matrix<float>(gradient + slope);
  }
};

class Blockwise {
 public:
  Blockwise(const LayerTraining& training, const EncodedModel& start, RecoveryRun* run)
      : training_(training),
        start_(start),
        run_(*run),
        model_(run->model()),
        options_(run->options()) {
    result_.model = start;
    const BatchOrder order(run->data().training.size(), options_.batch, 0, 0);
    steps_ = options_.steps > 0 ? options_.steps : kEpochs * order.steps_per_epoch();
  }

  absl::StatusOr<MethodResult> Run();

 private:
  // Trains a layer, given its inputs in the recovered model and the outputs wanted.
  absl::StatusOr<TrainedLayer> TrainLayer(int layer,
                                          const LayerParameters<float>& original,
                                          const Streams& inputs,
                                          const Streams& wanted);
  LayerMatrices MatricesOf(int layer, const LayerParameters<float>& original) const;
  // Adds the transformation's parameters to those that are trained; null where there is none.
  std::unique_ptr<TrainedTransform> TransformOf(int layer,
                                                const LayerParameters<float>& original,
                                                const Streams& inputs,
                                                LayerMatrices* matrices) const;
  double Rate(const ParameterArray& array, const Format& format) const {
    if (array.kind == ParameterKind::kTransform) return options_.rate_factor * kTransformRate;
    const bool scales = array.kind == ParameterKind::kLogScales;
    // The option is that of weights, and of clipping where only that is trained.
    if (options_.learning_rate > 0 && (!scales || training_.parts.clipping)) {
      return options_.rate_factor * options_.learning_rate;
    }
    return options_.rate_factor * (scales ? training_.scale_rate : WeightRate(format));
  }
  DecoderLayer<float> Decoder(int layer, int token_bits) const {
    return DecoderLayer<float>(
        model_.config(),
        layer,
        {.max_positions = max_positions_, .token_bits = token_bits, .threads = options_.threads});
  }
  StreamPair Start(std::span<const std::vector<int32_t>> sequences) const {
    const float scale = model_.config().embedding_scale;
    return {Embedded(DecodedMatrix(model_, result_.model.encodings, 0), scale, sequences),
            Embedded(ReadMatrix(model_, 0), scale, sequences)};
  }

  const LayerTraining training_;
  const EncodedModel& start_;
  RecoveryRun& run_;
  const Model& model_;
  const RecoveryOptions& options_;
  MethodResult result_;
  int64_t steps_ = 0;  // per layer
  int64_t max_positions_ = 0;
};

LayerMatrices Blockwise::MatricesOf(int layer, const LayerParameters<float>& original) const {
  LayerMatrices matrices;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const auto found = result_.model.encodings.find(LayerComponentId(layer, i));
    if (found == result_.model.encodings.end()) continue;
    const Encoding& start = found->second;
    if (!CheckTrainable(start.format).ok()) continue;
    std::unique_ptr<TrainedMatrix> trained =
        MakeTrainedMatrix(original.matrices[i], start, training_.parts);
    for (ParameterArray* array : trained->parameters()) {
      matrices.arrays.push_back(array);
      matrices.rates.push_back(Rate(*array, start.format));
    }
    if (!trained->parameters().empty()) matrices.trained[i] = std::move(trained);
  }
  return matrices;
}

std::unique_ptr<TrainedTransform> Blockwise::TransformOf(int layer,
                                                         const LayerParameters<float>& original,
                                                         const Streams& inputs,
                                                         LayerMatrices* matrices) const {
  if (!training_.transform) return nullptr;
  TrainedTransform::Matrices clipped;
  for (int i = 0; i < kLayerMatrices; ++i) {
    clipped[i] = dynamic_cast<TrainedClipping*>(matrices->trained[i].get());
  }
  // Where activations are rounded, channels of outliers must change more than training moves them.
  LayerScales start;
  if (options_.token_bits > 0) {
    std::vector<int64_t> some(std::min(kStreamBatch, inputs.size()));
    std::iota(some.begin(), some.end(), int64_t{0});
    LayerTrace<float> trace;
    Decoder(layer, 0).Forward(original, Gather(inputs, some), &trace);
    for (const ScalePlace place : {kAttentionInputScales, kValueScales, kMlpInputScales}) {
      ScalesAt(start, place) =
          ScalesOfRatio(RangesOf(model_.config(), place, original, trace), kStartRatio);
    }
  }
  auto transform = std::make_unique<TrainedTransform>(model_, layer, original, clipped, start);
  if (!transform->any()) return nullptr;
  matrices->arrays.push_back(transform->parameters());
  matrices->rates.push_back(Rate(*transform->parameters(), {}));
  return transform;
}

absl::StatusOr<TrainedLayer> Blockwise::TrainLayer(int layer,
                                                   const LayerParameters<float>& original,
                                                   const Streams& inputs,
                                                   const Streams& wanted) {
  LayerMatrices matrices = MatricesOf(layer, original);
  TrainedLayer result;
  if (matrices.arrays.empty()) return result;
  const int threads = options_.threads;
  LayerParameters<float> parameters = DecodedLayer(model_, result_.model, layer);
  const DecoderLayer<float> decoder = Decoder(layer, options_.token_bits);
  const DecoderLayer<float> exact = Decoder(layer, 0);
  const LayerWeights<float> original_weights(original);
  const double square = MeanSquare(wanted);
  AdamW optimiser;
  BatchOrder order(inputs.size(), options_.batch, options_.seed, kOrderStream + layer);
  const std::unique_ptr<TrainedTransform> transform =
      TransformOf(layer, original, inputs, &matrices);
  std::vector<double> now(matrices.rates.size());
  LayerParameters<float> gradient;
  LayerBackward<float> backward{.gradient = &gradient};
  for (int i = 0; i < kLayerMatrices; ++i) backward.frozen[i] = matrices.trained[i] == nullptr;
  LayerTrace<float> trace;
  LayerTrace<float> exact_trace;
  for (int64_t step = 0; step < steps_; ++step) {
    if (run_.MustStop()) return absl::CancelledError("interrupted");
    const std::span<const int64_t> batch = order.Batch(step);
    if (transform != nullptr) transform->Fold(threads, &parameters);
    matrices.Decode(threads, &parameters);
    const LayerWeights<float> weights(parameters);
    const LayerInputs rows = Gather(inputs, batch);
    decoder.Forward(weights, rows, &trace);
    const double values = static_cast<double>(trace.outputs.size());
    const double factor = 1 / (values * (square > 0 ? square : 1));
    Loss loss;
    loss.Add(trace.outputs, Gather(wanted, batch).x, factor);
    if (training_.augmented_loss) {
      exact.Forward(original_weights, rows, &exact_trace);
      loss.Add(trace.outputs, exact_trace.outputs, factor);
    }
    decoder.Backward(weights, rows, trace, loss.gradient, backward);
    if (transform != nullptr) transform->Backward(gradient, threads);
    matrices.Backward(gradient, threads);
    for (size_t a = 0; a < now.size(); ++a) {
      now[a] = CosineRate(matrices.rates[a], step, steps_, steps_ / 20);
    }
    optimiser.Step(matrices.arrays, now, threads);
    if (Diverges(loss.value, matrices.arrays)) {
      result.diverged = matrices.rates.front();
      return result;
    }
    ++result_.steps;
    run_.progress()->Update(layer * steps_ + step + 1,
                            absl::StrFormat("layer %d of %d, error %.3g, rate %.2g",
                                            layer + 1,
                                            model_.config().num_hidden_layers,
                                            loss.value,
                                            now.front()));
  }
  if (transform != nullptr) result.vectors = transform->Finish(threads, &parameters);
  for (int i = 0; i < kLayerMatrices; ++i) {
    if (matrices.trained[i] == nullptr) continue;
    result.encodings[LayerComponentId(layer, i)] = matrices.trained[i]->Encode(threads);
  }
  return result;
}

absl::StatusOr<MethodResult> Blockwise::Run() {
  const RecoveryData& data = run_.data();
  max_positions_ = std::max(LongestSequence(data.training), LongestSequence(data.kept_aside));
  const int layers = static_cast<int>(model_.config().num_hidden_layers);
  int64_t first_layer = 0;
  if (const SavedState saved = run_.Resume(); !saved.empty()) {
    BB_ASSIGN_OR_RETURN(result_.model,
                        LoadEncoded(model_.config(), saved, "layer/", result_.model));
    BB_ASSIGN_OR_RETURN(first_layer, LoadInteger(saved, "layers"));
    BB_ASSIGN_OR_RETURN(result_.steps, LoadInteger(saved, "steps"));
  }
  StreamPair training = Start(data.training);
  StreamPair kept_aside = Start(data.kept_aside);
  run_.progress()->Begin(training_.name, layers * steps_);
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
    LayerParameters<float> decoded = DecodedLayer(model_, result_.model, layer);
    Advance(rounded, decoded, &kept_aside.recovered);
    if (layer >= first_layer) {
      absl::StatusOr<TrainedLayer> found =
          TrainLayer(layer, original, training.recovered, training.original);
      if (absl::IsCancelled(found.status())) {
        result_.complete = false;
        break;
      }
      BB_RETURN_IF_ERROR(found.status());
      if (found->diverged.has_value()) {
        result_.diverged = found->diverged;
        result_.model = start_;
        break;
      }
      EncodedModel tried = result_.model;
      for (auto& [component, encoding] : found->encodings) {
        tried.encodings[component] = std::move(encoding);
      }
      if (found->vectors.has_value()) {
        tried.vectors[layer] = *std::move(found->vectors);
        tried.transformed = true;
      }
      decoded = DecodedLayer(model_, tried, layer);
      Advance(rounded, decoded, &kept_before);
      if (options_.keep_worse || RelativeError(kept_before, kept_aside.original) <
                                     RelativeError(kept_aside.recovered, kept_aside.original)) {
        result_.model = std::move(tried);
        kept_aside.recovered = std::move(kept_before);
      } else {
        decoded = DecodedLayer(model_, result_.model, layer);
      }
      SavedState state;
      SaveEncoded(model_.config(), result_.model, "layer/", &state);
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

absl::StatusOr<MethodResult> RecoverBlockwise(const EncodedModel& start, RecoveryRun* run) {
  return Blockwise(
             {.name = "blockwise", .parts = {}, .scale_rate = kScaleRate, .augmented_loss = false},
             start,
             run)
      .Run();
}

absl::StatusOr<MethodResult> RecoverOmniQuant(const EncodedModel& start, RecoveryRun* run) {
  return Blockwise({.name = "omniquant",
                    .parts = {.weights = false, .scales = false, .clipping = true},
                    .scale_rate = 1e-2,
                    .augmented_loss = run->options().augmented_loss,
                    .transform = run->options().transform},
                   start,
                   run)
      .Run();
}

}  // namespace bitbudget
