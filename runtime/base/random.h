#ifndef BITBUDGET_RUNTIME_BASE_RANDOM_H_
#define BITBUDGET_RUNTIME_BASE_RANDOM_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <numbers>
#include <utility>
#include <vector>

namespace bitbudget {

// A counter-based random stream: value i is a hash of (key, i), and the key is a hash of the seed
// and the stream's coordinates, e.g. Random(seed, {kProbeStream, probe}). Streams are independent
// of the order in which they are used, so work may be spread over threads without changing results.
// The hash is the SplitMix64 finaliser (Steele, Lea, Flood 2014); no std distribution is used, as
// those differ between standard libraries.
class Random {
 public:
  explicit Random(uint64_t seed, std::initializer_list<uint64_t> stream = {}) : key_(Mix(seed)) {
    for (const uint64_t coordinate : stream) key_ = Mix(key_ ^ Mix(coordinate + kGamma));
  }

  uint64_t Next() { return Mix(key_ + kGamma * ++counter_); }

  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  // Uniform in [0, bound), bound > 0 (multiply-shift; the bias is below bound / 2^64).
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

  // Standard normal (Box and Muller 1958).
  double Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

  // Fisher-Yates.
  template <typename T>
  void Shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Below(i)]);
  }

 private:
  static constexpr uint64_t kGamma = 0x9e3779b97f4a7c15u;
  static constexpr uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_RANDOM_H_
