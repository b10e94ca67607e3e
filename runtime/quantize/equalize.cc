#include "runtime/quantize/equalize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <utility>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/clipping.h"
#include "runtime/quantize/integer_rows.h"
#include "runtime/quantize/minimize.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

constexpr double kSmallest = 1e-5;  // OmniQuant's floor of ranges

TensorView ViewOfMatrix(const Matrix<float>& matrix) {
  return ViewOf({matrix.data(), static_cast<size_t>(matrix.size())}, matrix.rows(), matrix.cols());
}

int64_t LongestOf(const LayerInputs& a, const LayerInputs& b) {
  int64_t longest = 0;
  for (const LayerInputs* inputs : {&a, &b}) {
    for (const int64_t length : inputs->lengths) longest = std::max(longest, length);
  }
  return longest;
}

// The places of a layer that have scales.
enum Place { kAttentionInput, kValue, kMlpInput, kQueryKey, kPlaces };

std::vector<float>& ScalesAt(LayerScales& scales, int place) {
  std::vector<float>* const all[] = {
      &scales.attention_input, &scales.value, &scales.mlp_input, &scales.query_key};
  return *all[place];
}

// The parameters of the learning problem: logarithms of scales, place by place; channels of
// query_key that turn into each other share one.
class ScaleParameters {
 public:
  ScaleParameters(const ModelConfig& config, bool query_key) {
    for (int64_t i = 0; i < config.hidden_size; ++i) Add(kAttentionInput, size_++);
    for (int64_t i = 0; i < config.kv_size(); ++i) Add(kValue, size_++);
    for (int64_t i = 0; i < config.hidden_size; ++i) Add(kMlpInput, size_++);
    if (!query_key) return;
    const int64_t half = config.rotary_dim / 2;
    for (int64_t c = 0; c < config.kv_size(); ++c) {
      const int64_t dim = c % config.head_dim;
      const bool second = dim >= half && dim < config.rotary_dim;
      Add(kQueryKey, second ? index_[kQueryKey][c - half] : size_++);
    }
  }

  int size() const { return size_; }

  LayerScales Scales(const double* logs) const {
    LayerScales scales;
    for (int place = 0; place < kPlaces; ++place) {
      for (const int i : index_[place]) {
        ScalesAt(scales, place).push_back(static_cast<float>(std::exp(logs[i])));
      }
    }
    return scales;
  }

  std::vector<double> Logs(LayerScales scales) const {
    std::vector<double> logs(size_);
    for (int place = 0; place < kPlaces; ++place) {
      const std::vector<float>& own = ScalesAt(scales, place);
      for (size_t c = 0; c < own.size() && c < index_[place].size(); ++c) {
        logs[index_[place][c]] = std::log(static_cast<double>(own[c]));
      }
    }
    return logs;
  }

  void Gather(const ScaleGradient& gradient, double* out) const {
    std::fill_n(out, size_, 0.0);
    const std::vector<double>* const all[] = {
        &gradient.attention_input, &gradient.value, &gradient.mlp_input, &gradient.query_key};
    for (int place = 0; place < kPlaces; ++place) {
      for (size_t c = 0; c < index_[place].size(); ++c) out[index_[place][c]] += (*all[place])[c];
    }
  }

 private:
  void Add(Place place, int index) { index_[place].push_back(index); }

  std::array<std::vector<int>, kPlaces> index_;
  int size_ = 0;
};

// A matrix rounded to grids that span fixed parts of the ranges of its groups, whatever these are.
class ClippedMatrix {
 public:
  ClippedMatrix(const Matrix<float>& weights, const Encoding& encoding) : format_(encoding.format) {
    const int64_t groups = format_.GroupsPerRow(weights.cols());
    std::vector<IntegerGrid> grids(groups);
    for (int64_t row = 0; row < weights.rows(); ++row) {
      ReadGrids(encoding, row, grids);
      for (int64_t g = 0; g < groups; ++g) {
        logits_.push_back(GroupClipping(Group(weights, row, g), format_).LogitsOf(grids[g]));
      }
    }
  }

  Matrix<float> Round(const Matrix<float>& weights, int threads) const {
    Matrix<float> out(weights.rows(), weights.cols());
    ForEachGroup(weights, threads, [&](int64_t row, int64_t g) {
      const std::span<const float> group = Group(weights, row, g);
      const GroupClipping clipping(group, format_);
      const std::span<float> rounded = MutableGroup(out, row, g);
      RoundingErrors(group, clipping.GridOf(LogitsOf(weights, row, g)).grid, format_, rounded);
      for (size_t j = 0; j < group.size(); ++j) rounded[j] += group[j];
    });
    return out;
  }

  // The gradient by the weights, from that by the rounded ones.
  Matrix<float> Backward(const Matrix<float>& weights,
                         const Matrix<float>& d_rounded,
                         int threads) const {
    Matrix<float> out(weights.rows(), weights.cols());
    ForEachGroup(weights, threads, [&](int64_t row, int64_t g) {
      const std::span<const float> group = Group(weights, row, g);
      const GroupClipping clipping(group, format_);
      const GroupClipping::Logits& logits = LogitsOf(weights, row, g);
      clipping.Backward(group,
                        logits,
                        clipping.GridOf(logits),
                        Group(d_rounded, row, g),
                        MutableGroup(out, row, g));
    });
    return out;
  }

 private:
  template <typename Body>
  void ForEachGroup(const Matrix<float>& weights, int threads, const Body& body) const {
    const int64_t groups = format_.GroupsPerRow(weights.cols());
    ParallelFor(threads, weights.rows(), [&](int64_t row, int) {
      for (int64_t g = 0; g < groups; ++g) body(row, g);
    });
  }
  std::pair<int64_t, int64_t> Range(int64_t cols, int64_t g) const {
    const int64_t size = format_.GroupSize(cols);
    return {g * size, std::min(size, cols - g * size)};
  }
  std::span<const float> Group(const Matrix<float>& m, int64_t row, int64_t g) const {
    const auto [begin, count] = Range(m.cols(), g);
    return {m.data() + row * m.cols() + begin, static_cast<size_t>(count)};
  }
  std::span<float> MutableGroup(Matrix<float>& m, int64_t row, int64_t g) const {
    const auto [begin, count] = Range(m.cols(), g);
    return {m.data() + row * m.cols() + begin, static_cast<size_t>(count)};
  }
  const GroupClipping::Logits& LogitsOf(const Matrix<float>& m, int64_t row, int64_t g) const {
    return logits_[row * format_.GroupsPerRow(m.cols()) + g];
  }

  Format format_;
  std::vector<GroupClipping::Logits> logits_;
};

// What one layer does on one set of inputs.
class LayerBench {
 public:
  LayerBench(const ModelConfig& config,
             const DecoderLayer<float>& exact,
             const DecoderLayer<float>& rounded,
             const LayerParameters<float>& parameters,
             const LayerInputs& inputs,
             const Encoder& encoder,
             const EqualizeOptions& options)
      : config_(config),
        rounded_(rounded),
        parameters_(parameters),
        inputs_(inputs),
        encoder_(encoder),
        options_(options) {
    exact.Forward(parameters, inputs.lengths, inputs.x, options.threads, &exact_);
    norm_ = exact_.outputs.cast<double>().squaredNorm();
  }

  const LayerTrace<float>& exact() const { return exact_; }

  LayerParameters<float> Folded(const LayerScales& scales) const {
    LayerParameters<float> folded = parameters_;
    FoldScales(config_, scales, &folded);
    return folded;
  }

  // The relative error of the outputs with these scales and real encodings.
  absl::StatusOr<double> Error(const LayerScales& scales) const {
    BB_ASSIGN_OR_RETURN(const LayerParameters<float> encoded,
                        EncodedLayer(Folded(scales), encoder_, options_.format, options_.threads));
    LayerTrace<float> trace;
    rounded_.Forward(encoded, inputs_.lengths, inputs_.x, options_.threads, &trace);
    return RelativeDistance(trace.outputs, exact_.outputs);
  }

  // The same with grids that keep their part of the groups' ranges, and its derivatives.
  double ClippedError(const LayerScales& scales,
                      std::span<const ClippedMatrix> clipped,
                      ScaleGradient* gradient) const {
    const LayerParameters<float> folded = Folded(scales);
    LayerParameters<float> rounded = folded;
    for (int i = 0; i < kLayerMatrices; ++i) {
      rounded.matrices[i] = clipped[i].Round(folded.matrices[i], options_.threads);
    }
    LayerTrace<float> trace;
    rounded_.Forward(rounded, inputs_.lengths, inputs_.x, options_.threads, &trace);
    if (gradient != nullptr) {
      const Matrix<float> d_outputs =
          (trace.outputs - exact_.outputs) * static_cast<float>(2 / norm_);
      LayerParameters<float> d_layer;
      rounded_.Backward(rounded,
                        inputs_.lengths,
                        inputs_.x,
                        trace,
                        d_outputs,
                        options_.threads,
                        &d_layer,
                        nullptr);
      for (int i = 0; i < kLayerMatrices; ++i) {
        d_layer.matrices[i] =
            clipped[i].Backward(folded.matrices[i], d_layer.matrices[i], options_.threads);
      }
      *gradient = LogScaleGradient(config_, folded, d_layer);
    }
    return RelativeDistance(trace.outputs, exact_.outputs);
  }

 private:
  const ModelConfig& config_;
  const DecoderLayer<float>& rounded_;
  const LayerParameters<float>& parameters_;
  const LayerInputs& inputs_;
  const Encoder& encoder_;
  const EqualizeOptions& options_;
  LayerTrace<float> exact_;
  double norm_ = 0;
};

// max|X| and max|W| of the channels of a place.
struct Ranges {
  std::vector<double> inputs;
  std::vector<double> weights;
};

Ranges RangesOf(const ModelConfig& config,
                Place place,
                const LayerParameters<float>& parameters,
                const LayerTrace<float>& trace) {
  const bool value = place == kValue;
  const Matrix<float>& x = place == kAttentionInput ? trace.normed
                           : value                  ? trace.context
                                                    : trace.mlp_normed;
  const std::vector<int> matrices = place == kAttentionInput
                                        ? std::vector<int>{kQMatrix, kKMatrix, kVMatrix}
                                    : value ? std::vector<int>{kOMatrix}
                                            : std::vector<int>{kGateMatrix, kUpMatrix};
  const int64_t channels = value ? config.kv_size() : config.hidden_size;
  Ranges ranges{std::vector<double>(channels, kSmallest), std::vector<double>(channels, kSmallest)};
  const auto raise = [&](const Matrix<float>& m, std::vector<double>* out) {
    const RowVector<float> largest = m.cwiseAbs().colwise().maxCoeff();
    for (int64_t c = 0; c < m.cols(); ++c) {
      double& range = (*out)[value ? KeyValueChannel(config, c) : c];
      range = std::max(range, static_cast<double>(largest[c]));
    }
  };
  raise(x, &ranges.inputs);
  for (const int which : matrices) raise(parameters.matrices[which], &ranges.weights);
  return ranges;
}

// max|X|^a / max|W|^(1-a), with a geometric mean of 1.
std::vector<float> ScalesOfRatio(const Ranges& ranges, double ratio) {
  std::vector<double> logs;
  double sum = 0;
  for (size_t c = 0; c < ranges.inputs.size(); ++c) {
    logs.push_back(ratio * std::log(ranges.inputs[c]) - (1 - ratio) * std::log(ranges.weights[c]));
    sum += logs.back();
  }
  std::vector<float> scales;
  for (const double log : logs) {
    scales.push_back(static_cast<float>(std::exp(log - sum / static_cast<double>(logs.size()))));
  }
  return scales;
}

// The clipped error by the logarithms of scales. Keeps the best scales of all that were asked for.
class ScaleProblem final : public Objective {
 public:
  ScaleProblem(const LayerBench& bench,
               const ScaleParameters& parameters,
               std::span<const ClippedMatrix> clipped)
      : bench_(bench), parameters_(parameters), clipped_(clipped) {}

  int64_t size() const override { return parameters_.size(); }

  // Empty where none is better than the first.
  const std::vector<double>& best_logs() const { return best_logs_; }

  bool Evaluate(const double* logs, double* cost, double* gradient) override {
    ScaleGradient slopes;
    const double error = bench_.ClippedError(
        parameters_.Scales(logs), clipped_, gradient == nullptr ? nullptr : &slopes);
    // In units of the start, so that the solver's tolerances mean something.
    if (unit_ == 0) unit_ = best_error_ = error;
    if (unit_ == 0) return false;  // nothing to gain
    if (error < best_error_) {
      best_error_ = error;
      best_logs_.assign(logs, logs + parameters_.size());
    }
    *cost = error / unit_;
    if (gradient == nullptr) return std::isfinite(*cost);
    parameters_.Gather(slopes, gradient);
    for (int i = 0; i < parameters_.size(); ++i) gradient[i] /= unit_;
    return std::isfinite(*cost);
  }

 private:
  const LayerBench& bench_;
  const ScaleParameters& parameters_;
  std::span<const ClippedMatrix> clipped_;
  double unit_ = 0;
  double best_error_ = 0;
  std::vector<double> best_logs_;
};

// The middle of every channel's values, over all tokens.
std::vector<float> MiddleOf(const Matrix<float>& v) {
  std::vector<float> middle(v.cols());
  for (int64_t c = 0; c < v.cols(); ++c) {
    middle[c] = (v.col(c).maxCoeff() + v.col(c).minCoeff()) / 2;
  }
  return middle;
}

}  // namespace

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

absl::StatusOr<LayerEqualization> EqualizeLayer(const ModelConfig& config,
                                                int layer,
                                                const LayerParameters<float>& parameters,
                                                const LayerInputs& inputs,
                                                const LayerInputs& held,
                                                const Encoder& encoder,
                                                const EqualizeOptions& options) {
  const int64_t longest = LongestOf(inputs, held);
  const DecoderLayer<float> exact(config, layer, longest);
  const DecoderLayer<float> rounded(config, layer, longest, options.token_bits);
  const LayerBench bench(config, exact, rounded, parameters, inputs, encoder, options);
  const LayerBench aside(config, exact, rounded, parameters, held, encoder, options);

  LayerEqualization result;
  LayerScales best;
  BB_ASSIGN_OR_RETURN(result.error_before, bench.Error(best));
  double error = result.error_before;
  const auto try_scales = [&](const LayerScales& scales) -> absl::Status {
    const absl::StatusOr<double> own = bench.Error(scales);
    // Scales that the format cannot hold are no candidates.
    if (absl::IsInvalidArgument(own.status())) return absl::OkStatus();
    BB_RETURN_IF_ERROR(own.status());
    if (*own < error) {
      error = *own;
      best = scales;
    }
    return absl::OkStatus();
  };
  if (options.token_bits > 0 && HasValueShift(config)) {
    LayerScales shifted;
    shifted.value_shift = MiddleOf(bench.exact().v);
    BB_RETURN_IF_ERROR(try_scales(shifted));
  }
  for (const Place place : {kAttentionInput, kValue, kMlpInput}) {
    const Ranges ranges = RangesOf(config, place, parameters, bench.exact());
    const LayerScales base = best;
    for (int step = 0; step <= options.ratio_steps; ++step) {
      LayerScales scales = base;
      ScalesAt(scales, place) =
          ScalesOfRatio(ranges, static_cast<double>(step) / options.ratio_steps);
      BB_RETURN_IF_ERROR(try_scales(scales));
    }
  }

  if (options.format.IsInteger() && !options.format.IsSparse() && options.iterations > 0) {
    const LayerParameters<float> folded = bench.Folded(best);
    std::vector<ClippedMatrix> clipped;
    for (const Matrix<float>& matrix : folded.matrices) {
      BB_ASSIGN_OR_RETURN(
          const Encoding encoding,
          encoder.Encode(ViewOfMatrix(matrix), options.format, {}, options.threads));
      clipped.emplace_back(matrix, encoding);
    }
    const ScaleParameters layout(config, options.token_bits > 0 && HasQueryKeyScales(config));
    ScaleProblem problem(bench, layout, clipped);
    std::vector<double> logs = layout.Logs(best);
    Minimize(&problem, options.iterations, &logs);
    if (!problem.best_logs().empty()) {
      LayerScales learned = layout.Scales(problem.best_logs().data());
      learned.value_shift = best.value_shift;
      BB_RETURN_IF_ERROR(try_scales(learned));
    }
  }

  BB_ASSIGN_OR_RETURN(result.held_error_before, aside.Error({}));
  BB_ASSIGN_OR_RETURN(result.held_error_after, aside.Error(best));
  result.error_after = error;
  if (result.held_error_after < result.held_error_before) {
    result.scales = std::move(best);
  } else {
    result.error_after = result.error_before;
    result.held_error_after = result.held_error_before;
  }
  return result;
}

}  // namespace bitbudget
