#include "tools/bench/product_check.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/random.h"
#include "runtime/kernels/layout.h"

namespace bitbudget {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;

// Activation codes [m][k] and scales [m][groups] by their definition (KernelTable::pack_i16).
struct Codes {
  std::vector<int32_t> codes;
  std::vector<float> scales;
};

Codes RoundActivations(
    std::span<const float> x, int64_t m, int64_t k, int64_t group, int max_code) {
  Codes out;
  out.codes.resize(x.size());
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t first = 0; first < k; first += group) {
      const int64_t begin = row * k + first;
      const int64_t end = row * k + std::min(first + group, k);
      float absmax = 0;
      for (int64_t i = begin; i < end; ++i) absmax = std::max(absmax, std::abs(x[i]));
      const bool zeros = absmax < 0x1p-100f;
      const float scale = zeros ? 0.0f : absmax / static_cast<float>(max_code);
      const float inverse = zeros ? 0.0f : static_cast<float>(max_code) / absmax;
      out.scales.push_back(scale);
      for (int64_t i = begin; i < end; ++i) {
        const auto code = static_cast<int32_t>(std::nearbyint(x[i] * inverse));
        out.codes[i] = std::clamp(code, -max_code, max_code);
      }
    }
  }
  return out;
}

struct Expected {
  double value = 0;
  double bound = 0;
};

}  // namespace

absl::Status CheckProduct(absl::string_view what,
                          const ActivationPacking& packing,
                          int flush,
                          const Encoding& encoding,
                          std::span<const float> x,
                          int64_t m,
                          std::span<const float> y) {
  const int64_t n = encoding.rows;
  const int64_t k = encoding.cols;
  CHECK_EQ(static_cast<int64_t>(x.size()), m * k);
  CHECK_EQ(static_cast<int64_t>(y.size()), m * n);
  const bool is_float = packing.path == Path::kF32;
  const int64_t activation_group = packing.group == 0 ? k : packing.group;
  const int64_t activation_groups = (k + activation_group - 1) / activation_group;
  const int max_code = packing.path == Path::kInt16 ? kMaxInt16Code : kMaxInt8Code;
  Codes activations;
  if (!is_float) activations = RoundActivations(x, m, k, activation_group, max_code);

  std::vector<float> decoded(is_float ? k : 0);
  std::vector<int16_t> centered(is_float ? 0 : k);
  const int64_t weight_group = encoding.format.GroupSize(k);
  std::vector<float> scales(encoding.format.GroupsPerRow(k));
  std::vector<float> minimums(encoding.format.HasMinimums() ? scales.size() : 0);
  const auto float_element = [&](int64_t row) {
    double norm = 0;
    Expected out;
    for (int64_t i = 0; i < k; ++i) {
      const double product = double{x[row * k + i]} * decoded[i];
      out.value += product;
      norm += std::abs(product);
    }
    out.bound = static_cast<double>(k) * kUnitRoundoff * norm;
    return out;
  };
  const auto integer_element = [&](int64_t row) {
    double norm = 0;
    Expected out;
    int64_t groups = 0;
    for (int64_t first = 0; first < k; first += flush, ++groups) {
      const int64_t end = std::min(first + flush, k);
      int64_t sum = 0;
      int64_t activation_sum = 0;
      for (int64_t i = first; i < end; ++i) {
        sum += int64_t{centered[i]} * activations.codes[row * k + i];
        activation_sum += activations.codes[row * k + i];
      }
      const double scale = activations.scales[row * activation_groups + first / activation_group];
      const int64_t group = first / weight_group;
      const double term = static_cast<double>(sum) * scales[group] * scale;
      const double minimum =
          minimums.empty() ? 0.0 : static_cast<double>(activation_sum) * minimums[group] * scale;
      out.value += term - minimum;
      norm += std::abs(term) + std::abs(minimum);
    }
    if (!minimums.empty()) groups *= 2;
    out.bound = static_cast<double>(groups + 3) * kUnitRoundoff * norm;
    return out;
  };

  Random random(/*seed=*/0, {static_cast<uint64_t>(n), static_cast<uint64_t>(k)});
  for (int64_t panel = 0; panel * kPanelWidth < n; ++panel) {
    const int64_t first = panel * kPanelWidth;
    const int64_t output =
        first + static_cast<int64_t>(random.Below(std::min<int64_t>(kPanelWidth, n - first)));
    if (is_float) {
      DecodeReferenceRow(encoding, output, decoded);
    } else {
      UnpackIntegerRow(encoding, output, centered, scales, minimums);
    }
    for (int64_t row = 0; row < m; ++row) {
      const Expected expected = is_float ? float_element(row) : integer_element(row);
      const float got = y[row * n + output];
      if (std::abs(got - expected.value) <= expected.bound) continue;  // false for NaN
      return absl::InternalError(absl::StrCat(what,
                                              ": wrong result: row ",
                                              row,
                                              ", output ",
                                              output,
                                              " is ",
                                              got,
                                              ", not ",
                                              expected.value,
                                              " within ",
                                              expected.bound));
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
