#include "runtime/training/equalize.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/quantize/clipped_matrix.h"
#include "runtime/quantize/minimize.h"
#include "runtime/training/channel_ranges.h"
#include "runtime/training/scale_parameters.h"

namespace bitbudget {
namespace {

// One layer on one set of inputs: the errors of its outputs for candidates of scales.
class LayerErrors {
 public:
  // Everything outlives it.
  LayerErrors(const LayerSample& sample,
              const DecoderLayer<float>& exact,
              const DecoderLayer<float>& rounded,
              const Encoder& encoder,
              const EqualizeOptions& options)
      : sample_(sample), rounded_(rounded), encoder_(encoder), options_(options) {
    exact.Forward(sample.parameters, sample.inputs, &exact_);
    norm_ = exact_.outputs.cast<double>().squaredNorm();
  }

  const LayerTrace<float>& exact() const { return exact_; }

  LayerParameters<float> Folded(const LayerScales& scales) const {
    LayerParameters<float> folded = sample_.parameters;
    FoldScales(sample_.config, scales, &folded);
    return folded;
  }

  // The relative error of the outputs with these scales and real encodings.
  absl::StatusOr<double> Error(const LayerScales& scales) const {
    BB_ASSIGN_OR_RETURN(const LayerParameters<float> encoded,
                        EncodedLayer(Folded(scales), encoder_, options_.format, options_.threads));
    LayerTrace<float> trace;
    rounded_.Forward(encoded, sample_.inputs, &trace);
    return RelativeDistance(trace.outputs, exact_.outputs);
  }

  // The same with grids that keep their part of the groups' ranges, and, unless `gradient` is null,
  // its derivatives.
  double ClippedError(const LayerScales& scales,
                      std::span<const ClippedMatrix> clipped,
                      ScaleGradient* gradient) const {
    const LayerParameters<float> folded = Folded(scales);
    LayerParameters<float> rounded = folded;
    for (int i = 0; i < kLayerMatrices; ++i) {
      rounded.matrices[i] = clipped[i].Round(folded.matrices[i], options_.threads);
    }
    const LayerWeights<float> weights(rounded);
    LayerTrace<float> trace;
    rounded_.Forward(weights, sample_.inputs, &trace);
    if (gradient != nullptr) {
      const Matrix<float> d_outputs =
          (trace.outputs - exact_.outputs) * static_cast<float>(2 / norm_);
      LayerParameters<float> d_layer;
      rounded_.Backward(weights, sample_.inputs, trace, d_outputs, {.gradient = &d_layer});
      for (int i = 0; i < kLayerMatrices; ++i) {
        d_layer.matrices[i] =
            clipped[i].Backward(folded.matrices[i], d_layer.matrices[i], options_.threads);
      }
      *gradient = LogScaleGradient(sample_.config, folded, d_layer);
    }
    return RelativeDistance(trace.outputs, exact_.outputs);
  }

 private:
  const LayerSample& sample_;
  const DecoderLayer<float>& rounded_;
  const Encoder& encoder_;
  const EqualizeOptions& options_;
  LayerTrace<float> exact_;
  double norm_ = 0;
};

// The clipped error by the logarithms of scales. Keeps the best scales of all evaluated.
class ScaleProblem final : public DifferentiableFunction {
 public:
  ScaleProblem(const LayerErrors& errors,
               const ScaleParameters& parameters,
               std::span<const ClippedMatrix> clipped)
      : errors_(errors), parameters_(parameters), clipped_(clipped) {}

  int64_t size() const override { return parameters_.size(); }

  // Empty where none are better than the first.
  const std::vector<double>& best_logs() const { return best_logs_; }

  bool Evaluate(const double* logs, double* cost, double* gradient) override {
    ScaleGradient slopes;
    const double error = errors_.ClippedError(
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
  const LayerErrors& errors_;
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

absl::StatusOr<LayerEqualization> EqualizeLayer(const LayerSample& sample,
                                                const LayerInputs& held,
                                                const Encoder& encoder,
                                                const EqualizeOptions& options) {
  const ModelConfig& config = sample.config;
  DecoderLayerOptions layer_options{
      .max_positions = std::max(LongestOf(sample.inputs.lengths), LongestOf(held.lengths)),
      .threads = options.threads};
  const DecoderLayer<float> exact(config, sample.layer, layer_options);
  layer_options.token_bits = options.token_bits;
  const DecoderLayer<float> rounded(config, sample.layer, layer_options);
  const LayerErrors errors(sample, exact, rounded, encoder, options);
  const LayerSample held_sample{config, sample.layer, sample.parameters, held};
  const LayerErrors held_errors(held_sample, exact, rounded, encoder, options);

  LayerEqualization result;
  LayerScales best;
  BB_ASSIGN_OR_RETURN(result.error_before, errors.Error(best));
  double error = result.error_before;
  const auto try_scales = [&](const LayerScales& scales) -> absl::Status {
    const absl::StatusOr<double> own = errors.Error(scales);
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
    shifted.value_shift = MiddleOf(errors.exact().v);
    BB_RETURN_IF_ERROR(try_scales(shifted));
  }
  for (const ScalePlace place : {kAttentionInputScales, kValueScales, kMlpInputScales}) {
    const ChannelRanges ranges = RangesOf(config, place, sample.parameters, errors.exact());
    const LayerScales base = best;
    for (int step = 0; step <= options.ratio_steps; ++step) {
      LayerScales scales = base;
      ScalesAt(scales, place) =
          ScalesOfRatio(ranges, static_cast<double>(step) / options.ratio_steps);
      BB_RETURN_IF_ERROR(try_scales(scales));
    }
  }

  if (options.format.IsInteger() && !options.format.IsSparse() && options.iterations > 0) {
    const LayerParameters<float> folded = errors.Folded(best);
    std::vector<ClippedMatrix> clipped;
    for (const Matrix<float>& matrix : folded.matrices) {
      BB_ASSIGN_OR_RETURN(
          const Encoding encoding,
          encoder.Encode(ViewOfMatrix(matrix), options.format, {}, options.threads));
      clipped.emplace_back(matrix, encoding);
    }
    const ScaleParameters layout(config,
                                 options.token_bits > 0 && HasQueryKeyScales(config)
                                     ? ScaleParameters::QueryKey::kScaled
                                     : ScaleParameters::QueryKey::kUnscaled);
    ScaleProblem problem(errors, layout, clipped);
    std::vector<double> logs = layout.Logs(best);
    Minimize(&problem, options.iterations, &logs);
    if (!problem.best_logs().empty()) {
      LayerScales learned = layout.Scales(problem.best_logs().data());
      learned.value_shift = best.value_shift;
      BB_RETURN_IF_ERROR(try_scales(learned));
    }
  }

  BB_ASSIGN_OR_RETURN(result.held_error_before, held_errors.Error({}));
  BB_ASSIGN_OR_RETURN(result.held_error_after, held_errors.Error(best));
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
