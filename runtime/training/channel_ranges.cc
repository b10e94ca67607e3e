#include "runtime/training/channel_ranges.h"

#include <algorithm>
#include <cmath>

namespace bitbudget {
namespace {

constexpr double kSmallestRange = 1e-5;  // OmniQuant's floor

}  // namespace

ChannelRanges RangesOf(const ModelConfig& config,
                       ScalePlace place,
                       const LayerParameters<float>& parameters,
                       const LayerTrace<float>& trace) {
  const bool value = place == kValueScales;
  const Matrix<float>& x = place == kAttentionInputScales ? trace.normed
                           : value                        ? trace.context
                                                          : trace.mlp_normed;
  const std::vector<int> matrices = place == kAttentionInputScales
                                        ? std::vector<int>{kQMatrix, kKMatrix, kVMatrix}
                                    : value ? std::vector<int>{kOMatrix}
                                            : std::vector<int>{kGateMatrix, kUpMatrix};
  const int64_t channels = value ? config.kv_size() : config.hidden_size;
  ChannelRanges ranges{std::vector<double>(channels, kSmallestRange),
                       std::vector<double>(channels, kSmallestRange)};
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

std::vector<float> ScalesOfRatio(const ChannelRanges& ranges, double ratio) {
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

}  // namespace bitbudget
