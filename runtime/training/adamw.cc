#include "runtime/training/adamw.h"

#include <glog/logging.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "runtime/base/parallel.h"

namespace bitbudget {
namespace {

constexpr int64_t kPart = 1 << 14;  // parameters that a thread takes at a time

Eigen::Map<Eigen::ArrayXf> Part(std::vector<float>* values, int64_t first, int64_t count) {
  return {values->data() + first, count};
}

void Append(const void* from, size_t size, std::string* out) {
  if (size > 0) out->append(static_cast<const char*>(from), size);
}

// Reads values off the front of bytes.
class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}

  bool Read(void* to, size_t size) {
    if (size > bytes_.size() - at_) return false;
    if (size > 0) std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
    return true;
  }
  bool AtEnd() const { return at_ == bytes_.size(); }
  size_t left() const { return bytes_.size() - at_; }

 private:
  const std::string& bytes_;
  size_t at_ = 0;
};

}  // namespace

void AdamW::Step(std::span<ParameterArray* const> arrays,
                 std::span<const double> rates,
                 int threads) {
  CHECK_EQ(arrays.size(), rates.size());
  if (means_.empty()) {
    for (const ParameterArray* array : arrays) {
      means_.emplace_back(array->values.size());
      squares_.emplace_back(array->values.size());
    }
  }
  CHECK_EQ(arrays.size(), means_.size());
  ++steps_;
  const double steps = static_cast<double>(steps_);
  const auto beta1 = static_cast<float>(options_.beta1);
  const auto beta2 = static_cast<float>(options_.beta2);
  const auto mean_factor = static_cast<float>(1 / (1 - std::pow(options_.beta1, steps)));
  const auto square_factor = static_cast<float>(1 / (1 - std::pow(options_.beta2, steps)));
  const auto epsilon = static_cast<float>(options_.epsilon);
  for (size_t a = 0; a < arrays.size(); ++a) {
    ParameterArray& array = *arrays[a];
    const int64_t size = static_cast<int64_t>(array.values.size());
    CHECK_EQ(array.values.size(), means_[a].size());
    CHECK_EQ(array.gradient.size(), array.values.size());
    const auto rate = static_cast<float>(rates[a] * array.unit);
    const auto kept = static_cast<float>(1 - rates[a] * options_.weight_decay);
    ParallelFor(ThreadsFor(threads, size), (size + kPart - 1) / kPart, [&](int64_t part, int) {
      const int64_t first = part * kPart;
      const int64_t count = std::min(kPart, size - first);
      auto mean = Part(&means_[a], first, count);
      auto square = Part(&squares_[a], first, count);
      const auto gradient = Part(&array.gradient, first, count);
      auto values = Part(&array.values, first, count);
      mean = mean * beta1 + gradient * (1 - beta1);
      square = square * beta2 + gradient.square() * (1 - beta2);
      values =
          values * kept - mean * mean_factor / ((square * square_factor).sqrt() + epsilon) * rate;
    });
  }
}

std::string AdamW::Save() const {
  std::string bytes;
  const auto count = static_cast<int64_t>(means_.size());
  Append(&steps_, sizeof(steps_), &bytes);
  Append(&count, sizeof(count), &bytes);
  for (size_t a = 0; a < means_.size(); ++a) {
    const auto size = static_cast<int64_t>(means_[a].size());
    Append(&size, sizeof(size), &bytes);
    Append(means_[a].data(), size * sizeof(float), &bytes);
    Append(squares_[a].data(), size * sizeof(float), &bytes);
  }
  return bytes;
}

bool AdamW::Load(const std::string& bytes) {
  Reader reader(bytes);
  AdamW loaded(options_);
  int64_t count = 0;
  if (!reader.Read(&loaded.steps_, sizeof(loaded.steps_)) || !reader.Read(&count, sizeof(count))) {
    return false;
  }
  for (int64_t a = 0; a < count; ++a) {
    int64_t size = 0;
    if (!reader.Read(&size, sizeof(size)) || size < 0 ||
        static_cast<uint64_t>(size) > reader.left() / (2 * sizeof(float))) {
      return false;
    }
    loaded.means_.emplace_back(size);
    loaded.squares_.emplace_back(size);
    if (!reader.Read(loaded.means_.back().data(), size * sizeof(float)) ||
        !reader.Read(loaded.squares_.back().data(), size * sizeof(float))) {
      return false;
    }
  }
  if (!reader.AtEnd()) return false;
  *this = std::move(loaded);
  return true;
}

double CosineRate(double peak, int64_t step, int64_t steps, int64_t warm_up) {
  if (step < warm_up) return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up);
  if (steps <= warm_up) return peak;
  const double done = static_cast<double>(step - warm_up) / static_cast<double>(steps - warm_up);
  return peak * (1 + std::cos(std::numbers::pi * done)) / 2;
}

double ClipGradients(std::span<ParameterArray* const> arrays, double largest) {
  double squares = 0;
  for (const ParameterArray* array : arrays) {
    for (const float g : array->gradient) squares += static_cast<double>(g) * g;
  }
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm) || norm <= largest) return norm;
  const auto factor = static_cast<float>(largest / norm);
  for (ParameterArray* array : arrays) {
    for (float& g : array->gradient) g *= factor;
  }
  return norm;
}

}  // namespace bitbudget
