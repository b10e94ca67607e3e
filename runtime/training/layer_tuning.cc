#include "runtime/training/layer_tuning.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/minimize.h"

namespace bitbudget {
namespace {

// A matrix of fixed levels, weight = scale * level, by the logarithms of how much its scales grow.
class ScaledLevels {
 public:
  explicit ScaledLevels(const Encoding& encoding)
      : group_(encoding.format.GroupSize(encoding.cols)),
        groups_(encoding.format.GroupsPerRow(encoding.cols)),
        decoded_(encoding.rows, encoding.cols) {
    DecodeReference(encoding, {decoded_.data(), static_cast<size_t>(decoded_.size())});
  }

  int64_t size() const { return decoded_.rows() * groups_; }

  Matrix<float> Weights(const double* logs) const {
    Matrix<float> out = decoded_;
    ForEachGroup([&](int64_t g, int64_t row, int64_t begin, int64_t count) {
      out.row(row).segment(begin, count) *= static_cast<float>(std::exp(logs[g]));
    });
    return out;
  }

  // A scale's logarithm moves all weights of its group in proportion.
  void Gradient(const Matrix<float>& weights,
                const Matrix<float>& d_weights,
                double unit,
                double* gradient) const {
    ForEachGroup([&](int64_t g, int64_t row, int64_t begin, int64_t count) {
      gradient[g] =
          unit *
          static_cast<double>(
              weights.row(row).segment(begin, count).dot(d_weights.row(row).segment(begin, count)));
    });
  }

  // The encoding with these scales, rounded to f16, and the levels that it has. A group whose scale
  // f16 cannot hold keeps it.
  void Store(const double* logs, Encoding* encoding) const {
    const FormatLevels levels(encoding->format);
    for (int64_t row = 0; row < encoding->rows; ++row) {
      CodedRow coded = CodedRow::Read(*encoding, levels, row);
      for (int64_t g = 0; g < groups_; ++g) {
        LevelGrid& grid = coded.grids[g];
        const float scale =
            RoundToHalf(static_cast<float>(grid.scale * std::exp(logs[row * groups_ + g])));
        if (scale != 0.0f && std::isfinite(scale)) grid.SetScale(scale);
      }
      coded.Write(levels, row, encoding);
    }
  }

 private:
  template <typename Body>
  void ForEachGroup(const Body& body) const {
    for (int64_t g = 0; g < size(); ++g) {
      const int64_t begin = g % groups_ * group_;
      body(g, g / groups_, begin, std::min(group_, decoded_.cols() - begin));
    }
  }

  int64_t group_;
  int64_t groups_;
  Matrix<float> decoded_;
};

// The layer's relative output error by the scales of all its matrices.
class LayerProblem final : public DifferentiableFunction {
 public:
  LayerProblem(const DecoderLayer<float>& layer,
               const LayerParameters<float>& parameters,
               const LayerInputs& inputs,
               const Matrix<float>& target,
               std::span<const ScaledLevels> levels)
      : layer_(layer),
        inputs_(inputs),
        target_(target),
        levels_(levels),
        norm_(target.cast<double>().squaredNorm()),
        rounded_(parameters) {}

  int64_t size() const override {
    int64_t count = 0;
    for (const ScaledLevels& levels : levels_) count += levels.size();
    return count;
  }

  double Error(const double* logs) {
    for (int i = 0; i < kLayerMatrices; ++i) {
      rounded_.matrices[i] = levels_[i].Weights(logs);
      logs += levels_[i].size();
    }
    weights_.emplace(rounded_);
    layer_.Forward(*weights_, inputs_, &trace_);
    return RelativeDistance(trace_.outputs, target_);
  }

  // In units of the first error that is asked for, for the solver's tolerances.
  bool Evaluate(const double* logs, double* cost, double* gradient) override {
    const double error = Error(logs);
    if (unit_ == 0) unit_ = error > 0 ? 1 / error : 1;
    *cost = error * unit_;
    if (!std::isfinite(*cost)) return false;
    if (gradient == nullptr) return true;
    const Matrix<float> d_outputs = (trace_.outputs - target_) * static_cast<float>(2 / norm_);
    layer_.Backward(*weights_, inputs_, trace_, d_outputs, {.gradient = &slopes_});
    for (int i = 0; i < kLayerMatrices; ++i) {
      levels_[i].Gradient(rounded_.matrices[i], slopes_.matrices[i], unit_, gradient);
      gradient += levels_[i].size();
    }
    return true;
  }

 private:
  const DecoderLayer<float>& layer_;
  const LayerInputs& inputs_;
  const Matrix<float>& target_;
  std::span<const ScaledLevels> levels_;
  double norm_;
  double unit_ = 0;
  LayerParameters<float> rounded_;
  std::optional<LayerWeights<float>> weights_;  // of rounded_
  LayerTrace<float> trace_;
  LayerParameters<float> slopes_;
};

// Copies what goes into every layer.
class StreamsAheadOfLayers final : public PassObserver {
 public:
  StreamsAheadOfLayers(const TokenPass& pass, const ModelConfig& config)
      : pass_(pass), layers_(config.num_hidden_layers) {
    LayerInputs inputs;
    for (int64_t s = 0; s < pass.sequences(); ++s) inputs.lengths.push_back(pass.Length(s));
    inputs.x.resize(pass.total_rows(), config.hidden_size);
    inputs_.assign(layers_, inputs);
  }

  // Up to the last layer, whose own work is not needed.
  PassNeeds Needs() const override { return {.end_stage = 2 * layers_ - 1}; }

  void Stream(int stage, const ObservedRows& x) override {
    if (stage % 2 == 0) return;  // between the halves of a layer
    std::copy_n(x.values,
                x.rows * x.width,
                inputs_[stage / 2].x.data() + pass_.FirstRow(x.sequence) * x.width);
  }

  std::vector<LayerInputs> Take() { return std::move(inputs_); }

 private:
  const TokenPass& pass_;
  const int layers_;
  std::vector<LayerInputs> inputs_;
};

}  // namespace

std::pair<double, double> TuneLayer(const LayerSample& sample,
                                    int iterations,
                                    int threads,
                                    LayerEncodings* encodings) {
  const auto& [config, layer, parameters, inputs] = sample;
  const DecoderLayer<float> decoder(
      config, layer, {.max_positions = LongestOf(inputs.lengths), .threads = threads});
  LayerTrace<float> exact;
  decoder.Forward(parameters, inputs, &exact);

  std::vector<ScaledLevels> levels(encodings->begin(), encodings->end());
  LayerProblem problem(decoder, parameters, inputs, exact.outputs, levels);
  std::vector<double> logs(problem.size());
  const double before = problem.Error(logs.data());
  if (!(before > 0) || !std::isfinite(before)) return {before, before};
  Minimize(&problem, iterations, &logs);

  LayerEncodings tuned = *encodings;
  const double* own = logs.data();
  LayerParameters<float> stored = parameters;
  for (int i = 0; i < kLayerMatrices; ++i) {
    levels[i].Store(own, &tuned[i]);
    own += levels[i].size();
    Matrix<float>& matrix = stored.matrices[i];
    DecodeReference(tuned[i], {matrix.data(), static_cast<size_t>(matrix.size())});
  }
  LayerTrace<float> trace;
  decoder.Forward(stored, inputs, &trace);
  const double after = RelativeDistance(trace.outputs, exact.outputs);
  if (!(after < before)) return {before, before};
  *encodings = std::move(tuned);
  return {before, after};
}

absl::Status LayerTuningEncoder::Calibrate(const Transformer& transformer,
                                           WeightSource* weights,
                                           std::span<const std::vector<int32_t>> sequences,
                                           int threads,
                                           Progress* progress) {
  size_t count = 0;
  for (int64_t rows = 0; count < sequences.size() && rows < options_.max_tokens; ++count) {
    rows += static_cast<int64_t>(sequences[count].size());
  }
  TokenPass pass(transformer, sequences.first(count), threads);
  StreamsAheadOfLayers observer(pass, model_.config());
  BB_RETURN_IF_ERROR(pass.Observe(weights, &observer, "layer inputs", progress));
  inputs_ = observer.Take();
  return absl::OkStatus();
}

absl::StatusOr<Encoding> LayerTuningEncoder::Encode(ComponentId id,
                                                    const Format& format,
                                                    int threads) const {
  const int layer = model_.component(id).layer;
  const bool tunable = layer >= 0 && format.IsInteger() && !format.IsSparse() && !inputs_.empty();
  if (!tunable) return encoder_.Encode(id, format, threads);
  Tuned* tuned = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Tuned>& entry = tuned_[{layer, format}];
    if (entry == nullptr) entry = std::make_unique<Tuned>();
    tuned = entry.get();
  }
  const std::lock_guard<std::mutex> lock(tuned->mutex);
  if (!tuned->done) {
    tuned->status = Tune(layer, format, threads, &tuned->encodings);
    tuned->done = true;
  }
  BB_RETURN_IF_ERROR(tuned->status);
  return tuned->encodings[id - LayerComponentId(layer, 0)];
}

absl::Status LayerTuningEncoder::Tune(int layer,
                                      const Format& format,
                                      int threads,
                                      LayerEncodings* out) const {
  for (int i = 0; i < kLayerMatrices; ++i) {
    BB_ASSIGN_OR_RETURN((*out)[i], encoder_.Encode(LayerComponentId(layer, i), format, threads));
  }
  const LayerParameters<float> parameters = ReadLayer<float>(model_, layer);
  TuneLayer(
      {model_.config(), layer, parameters, inputs_[layer]}, options_.iterations, threads, out);
  return absl::OkStatus();
}

}  // namespace bitbudget
