#include "runtime/eval/bounded_argmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/generate.h"

namespace bitbudget {
namespace {

// A head and rows of activations, with the full product to compare with.
struct Head {
  Head(std::vector<float> values, int64_t n, int64_t k, float soft_cap = 0)
      : panels(PackWeightsF32(ViewOf(values, n, k))),
        weights(std::move(values)),
        n(n),
        k(k),
        soft_cap(soft_cap) {}

  std::vector<int32_t> ArgMaxes(const std::vector<float>& x) const {
    const int64_t rows = static_cast<int64_t>(x.size()) / k;
    PackedActivations packed;
    PackActivations(Path::kF32, x.data(), k, rows, k, &packed);
    std::vector<float> logits(rows * n);
    Linear(packed, panels, logits.data(), n);
    if (soft_cap > 0) Kernels().soft_cap(logits.data(), 1, soft_cap, rows * n);
    std::vector<int32_t> result;
    for (int64_t row = 0; row < rows; ++row) {
      result.push_back(ArgMax(std::span(logits).subspan(row * n, n)));
    }
    return result;
  }

  // The decision for every row must be the full head's, whatever is expected and likely.
  void ExpectDecides(const std::vector<float>& x,
                     const std::vector<int32_t>& expected,
                     const std::vector<int32_t>& likely) const {
    const std::vector<int32_t> full = ArgMaxes(x);
    const BoundedArgmax bounded(panels, soft_cap, 2);
    BoundedArgmax::Workspace workspace;
    const int64_t rows = static_cast<int64_t>(full.size());
    const size_t each = likely.size() / full.size();
    const std::span<const float> all(x);
    for (int64_t row = 0; row < rows; ++row) {
      EXPECT_EQ(bounded.FirstMiss(panels,
                                  all.data() + row * k,
                                  1,
                                  std::span(expected).subspan(row, 1),
                                  std::span(likely).subspan(row * each, each),
                                  &workspace),
                full[row] == expected[row] ? 1 : 0)
          << "row " << row << ": argmax " << full[row] << ", expected " << expected[row];
    }
    const int64_t first =
        std::mismatch(full.begin(), full.end(), expected.begin()).first - full.begin();
    EXPECT_EQ(bounded.FirstMiss(panels, x.data(), rows, expected, likely, &workspace), first);
  }

  WeightPanels panels;
  std::vector<float> weights;
  int64_t n;
  int64_t k;
  float soft_cap;
};

std::vector<float> RandomValues(int64_t count, double scale, Random* random) {
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(scale * (random->Uniform() + random->Uniform() - 1));
  }
  return values;
}

TEST(BoundedArgmax, DecidesAsTheFullHeadOnRandomHeads) {
  Random random(1);
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1, 1}, {15, 33}, {700, 64}, {1537, 200}}) {
    const Head head(RandomValues(n * k, 0.1, &random), n, k);
    const std::vector<float> x = RandomValues(29 * k, 3, &random);
    const std::vector<int32_t> full = head.ArgMaxes(x);
    std::vector<int32_t> likely;
    for (size_t i = 0; i < 2 * full.size(); ++i) {
      likely.push_back(static_cast<int32_t>(random.Below(n)));
    }
    head.ExpectDecides(x, full, {});
    head.ExpectDecides(x, full, likely);
    std::vector<int32_t> some_wrong = full;
    for (size_t i = 10; i < full.size(); i += 3) some_wrong[i] = likely[i];
    head.ExpectDecides(x, some_wrong, likely);
    head.ExpectDecides(x, some_wrong, {});
    // The winner among the likely ones, something else expected.
    std::vector<int32_t> wrong = full;
    for (int32_t& token : wrong) token = static_cast<int32_t>((token + 1) % n);
    head.ExpectDecides(x, wrong, full);
    head.ExpectDecides(x, wrong, {});
  }
}

TEST(BoundedArgmax, DecidesTiesAndNearTiesAsTheFullHead) {
  Random random(2);
  const int64_t n = 1100;
  const int64_t k = 96;
  std::vector<float> weights = RandomValues(n * k, 0.1, &random);
  // Rows that are equal, and rows that differ by one bit of one weight, in the same panel, in
  // others and in another chunk.
  for (const int64_t copy : {int64_t{3}, int64_t{500}, int64_t{601}, int64_t{1099}}) {
    std::copy_n(weights.begin() + 7 * k, k, weights.begin() + copy * k);
  }
  for (const int64_t near : {int64_t{5}, int64_t{520}, int64_t{1098}}) {
    std::copy_n(weights.begin() + 7 * k, k, weights.begin() + near * k);
    float& weight = weights[near * k + near % k];
    weight = std::nextafter(weight, near % 2 == 0 ? 1.0f : -1.0f);
  }
  const Head head(weights, n, k);
  // Activations along row 7, so that it and its copies win.
  std::vector<float> x;
  for (int row = 0; row < 12; ++row) {
    const std::vector<float> noise = RandomValues(k, 0.01, &random);
    for (int64_t i = 0; i < k; ++i) x.push_back(10 * weights[7 * k + i] + noise[i]);
  }
  const std::vector<int32_t> full = head.ArgMaxes(x);
  for (const int32_t winner : full) EXPECT_TRUE(winner == 3 || winner % 2 == 0) << winner;
  for (const int32_t expected : {3, 5, 7, 500, 520, 601, 1098, 1099}) {
    head.ExpectDecides(x, std::vector<int32_t>(full.size(), expected), {});
  }
  head.ExpectDecides(x, full, {});
}

// Logits reach about 10: the caps leave them nearly alone, bend them, and flatten the largest into
// ties, of which the lowest id wins.
TEST(BoundedArgmax, DecidesSoftCappedLogitsAsTheFullHead) {
  Random random(5);
  const int64_t n = 1100;
  const int64_t k = 64;
  const std::vector<float> weights = RandomValues(n * k, 0.5, &random);
  const std::vector<float> x = RandomValues(40 * k, 3, &random);
  const std::vector<int32_t> uncapped = Head(weights, n, k).ArgMaxes(x);
  for (const float cap : {1000.0f, 30.0f, 5.0f, 1.0f, 0.25f}) {
    SCOPED_TRACE(cap);
    const Head head(weights, n, k, cap);
    const std::vector<int32_t> full = head.ArgMaxes(x);
    EXPECT_EQ(full != uncapped, cap < 1);
    head.ExpectDecides(x, full, {});
    head.ExpectDecides(x, uncapped, {});
    std::vector<int32_t> shuffled = full;
    std::rotate(shuffled.begin(), shuffled.begin() + 7, shuffled.end());
    head.ExpectDecides(x, shuffled, full);
    head.ExpectDecides(x, shuffled, {});
  }
}

TEST(BoundedArgmax, WhatIsNotFiniteIsAMissAsInTheFullHead) {
  Random random(3);
  const int64_t n = 600;
  const int64_t k = 32;
  const Head head(RandomValues(n * k, 0.1, &random), n, k);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> x = RandomValues(3 * k, 1, &random);
    std::vector<int32_t> expected = head.ArgMaxes(x);
    x[k + 5] = bad;
    head.ExpectDecides(x, expected, {});
    EXPECT_EQ(head.ArgMaxes(x)[1], -1);
  }
  // Logits that overflow, of one far row only.
  std::vector<float> weights = RandomValues(n * k, 0.1, &random);
  for (int64_t i = 0; i < k; ++i) weights[590 * k + i] = -1e19f;
  const Head huge(weights, n, k);
  std::vector<float> x(k, 1e20f);
  EXPECT_EQ(huge.ArgMaxes(x)[0], -1);
  for (const int32_t expected : {0, 1, 590}) huge.ExpectDecides(x, {expected}, {});
}

TEST(BoundedArgmax, DecidesRowsThatInt8HoldsBadlyOrNotAtAll) {
  Random random(4);
  const int64_t n = 530;
  const int64_t k = 256;
  std::vector<float> weights = RandomValues(n * k, 0.1, &random);
  for (int64_t row = 0; row < n; row += 5) weights[row * k + 3] = 50;  // all else rounds to zero
  std::fill_n(weights.begin() + 40 * k, k, 0.0f);
  std::fill_n(weights.begin() + 44 * k, k, 1e-30f);  // below the smallest scale
  const Head outliers(weights, n, k);
  std::vector<float> x = RandomValues(20 * k, 1, &random);
  for (int64_t row = 0; row < 20; ++row) x[row * k + 3] = 0.01f * static_cast<float>(row - 10);
  outliers.ExpectDecides(x, outliers.ArgMaxes(x), {});
  weights[512 * k] = 1e9f;  // beyond the largest scale: the chunk has no screen
  const Head beyond(weights, n, k);
  beyond.ExpectDecides(x, beyond.ArgMaxes(x), {});
}

}  // namespace
}  // namespace bitbudget
