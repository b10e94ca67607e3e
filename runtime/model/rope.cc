#include "runtime/model/rope.h"

#include <cmath>
#include <numbers>

namespace bitbudget {

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies(config.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(
        config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    switch (scaling.type) {
      case RopeType::kDefault:
        break;
      case RopeType::kLinear:
        frequency /= scaling.factor;
        break;
      case RopeType::kLlama3: {
        const double wavelength = 2 * std::numbers::pi / frequency;
        const double context = static_cast<double>(scaling.original_max_position);
        const double low_wavelength = context / scaling.low_freq_factor;
        const double high_wavelength = context / scaling.high_freq_factor;
        if (wavelength > low_wavelength) {
          frequency /= scaling.factor;
        } else if (wavelength >= high_wavelength) {
          const double blend = (context / wavelength - scaling.low_freq_factor) /
                               (scaling.high_freq_factor - scaling.low_freq_factor);
          frequency = (1 - blend) * frequency / scaling.factor + blend * frequency;
        }
        break;
      }
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTable::RopeTable(const ModelConfig& config, int64_t positions)
    : half(config.head_dim / 2), cos(positions * half), sin(positions * half) {
  const std::vector<double> frequencies = RopeFrequencies(config);
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      cos[position * half + i] = static_cast<float>(std::cos(angle));
      sin[position * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace bitbudget
