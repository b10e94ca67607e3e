#include "runtime/model/architecture/rope.h"

#include <glog/logging.h>

#include <cmath>
#include <numbers>

namespace bitbudget {
namespace {

double Llama3Frequency(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(scaling.original_max_position);
  const double low_wavelength = context / scaling.low_freq_factor;
  const double high_wavelength = context / scaling.high_freq_factor;
  if (wavelength > low_wavelength) return frequency / scaling.factor;
  if (wavelength < high_wavelength) return frequency;
  const double blend = (context / wavelength - scaling.low_freq_factor) /
                       (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - blend) * frequency / scaling.factor + blend * frequency;
}

}  // namespace

std::vector<double> RopeFrequencies(double theta, const RopeScaling& scaling, int64_t rotary_dim) {
  std::vector<double> frequencies(rotary_dim / 2);
  if (scaling.type == RopeType::kLongRope) CHECK_EQ(scaling.factors.size(), frequencies.size());
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double frequency =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    switch (scaling.type) {
      case RopeType::kDefault:
        frequencies[i] = frequency;
        break;
      case RopeType::kLinear:
        frequencies[i] = frequency / scaling.factor;
        break;
      case RopeType::kLlama3:
        frequencies[i] = Llama3Frequency(frequency, scaling);
        break;
      case RopeType::kLongRope:
        frequencies[i] = frequency / scaling.factors[i];
        break;
    }
  }
  return frequencies;
}

RopeTable::RopeTable(double theta,
                     const RopeScaling& scaling,
                     int64_t rotary_dim,
                     int64_t positions)
    : half(rotary_dim / 2), cos(positions * half), sin(positions * half) {
  const std::vector<double> frequencies = RopeFrequencies(theta, scaling, rotary_dim);
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      cos[position * half + i] = static_cast<float>(scaling.attention_factor * std::cos(angle));
      sin[position * half + i] = static_cast<float>(scaling.attention_factor * std::sin(angle));
    }
  }
}

}  // namespace bitbudget
