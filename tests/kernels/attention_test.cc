#include "runtime/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/reference.h"

namespace bitbudget {
namespace {

struct Shape {
  int64_t heads;
  int64_t kv_heads;
  int64_t dim;
  int64_t keys;
  int64_t window = 0;
  float soft_cap = 0;

  AttentionParameters Parameters() const {
    return {static_cast<float>(1 / std::sqrt(static_cast<double>(dim))), soft_cap, window};
  }
  // The first key that a row sees.
  int64_t FirstKey(int64_t row) const {
    return window == 0 ? 0 : std::max<int64_t>(0, row - window + 1);
  }
};

struct Sequence {
  explicit Sequence(const Shape& shape, uint64_t seed = 1)
      : shape(shape),
        q(RandomFloats(shape.keys * shape.heads * shape.dim, seed)),
        k(RandomFloats(shape.keys * shape.kv_heads * shape.dim, seed + 1)),
        v(RandomFloats(shape.keys * shape.kv_heads * shape.dim, seed + 2)) {
    for (float& value : q) value *= 4;
  }

  int64_t q_width() const { return shape.heads * shape.dim; }
  int64_t kv_width() const { return shape.kv_heads * shape.dim; }

  // Appends the positions [size, end) and returns their attention.
  std::vector<float> Extend(int64_t end, KeyValuePanels* kv) const {
    const int64_t begin = kv->size();
    kv->Append(
        k.data() + begin * kv_width(), v.data() + begin * kv_width(), kv_width(), end - begin);
    std::vector<float> out((end - begin) * q_width(), -12345.0f);
    AttentionWorkspace workspace;
    Attention(shape.Parameters(),
              q.data() + begin * q_width(),
              q_width(),
              *kv,
              shape.heads,
              end - begin,
              out.data(),
              q_width(),
              &workspace);
    return out;
  }

  std::vector<float> InChunksOf(int64_t chunk) const {
    KeyValuePanels kv;
    kv.Reset(shape.kv_heads, shape.dim, shape.keys);
    std::vector<float> all;
    while (kv.size() < shape.keys) {
      const std::vector<float> out = Extend(std::min(kv.size() + chunk, shape.keys), &kv);
      all.insert(all.end(), out.begin(), out.end());
    }
    return all;
  }

  Shape shape;
  std::vector<float> q, k, v;
};

std::vector<Shape> Shapes() {
  return {{1, 1, 1, 3},
          {1, 1, 16, 40},
          {4, 4, 20, 37},
          {4, 2, 64, 33},
          {6, 1, 80, 18},
          {9, 3, 7, 50},
          {8, 1, 128, 35},
          {2, 2, 33, 130},
          {4, 2, 20, 70, 1},
          {4, 4, 20, 70, 3},
          {6, 2, 12, 70, 16},
          {9, 3, 7, 50, 17},
          {1, 1, 40, 90, 33},
          {4, 2, 20, 37, 37},
          {4, 2, 20, 37, 1000},
          {4, 2, 24, 45, 0, 2.0f},
          {6, 1, 12, 60, 21, 0.5f}};
}

std::string Name(const Shape& s) {
  return "heads " + std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) + " dim " +
         std::to_string(s.dim) + " keys " + std::to_string(s.keys) + " window " +
         std::to_string(s.window) + " cap " + std::to_string(s.soft_cap);
}

// Error bound of one output. Scores q.k are chains of dim roundings, then scaled and reduced by the
// maximum (two more): |ds| <= (dim + 3) u * scale * max sum |q| |k| + 2 u |s|. A softmax weight
// then moves by a factor exp(2 |ds|) and by the roundings of exp (2 u), its sum (keys) and the
// division; the sum over values adds keys roundings. A soft cap takes score errors on with a factor
// of at most one and adds 12 u of its result, which is below the cap.
void ExpectNearReference(const Sequence& in, const std::vector<float>& actual) {
  const Shape& s = in.shape;
  const double scale = 1 / std::sqrt(static_cast<double>(s.dim));
  const size_t dim = s.dim;
  for (int64_t row = 0; row < s.keys; ++row) {
    for (int64_t head = 0; head < s.heads; ++head) {
      const int64_t kv_head = head / (s.heads / s.kv_heads);
      std::vector<double> weights;
      double largest_norm = 0;
      double max = -INFINITY;
      const int64_t first = s.FirstKey(row);
      for (int64_t key = first; key <= row; ++key) {
        const ReferenceProduct score =
            ReferenceDot({&in.q[row * in.q_width() + head * s.dim], dim},
                         {&in.k[key * in.kv_width() + kv_head * s.dim], dim});
        const double scaled = scale * score.value;
        weights.push_back(s.soft_cap > 0 ? s.soft_cap * std::tanh(scaled / s.soft_cap) : scaled);
        max = std::max(max, weights.back());
        largest_norm = std::max(largest_norm, scale * score.norm);
      }
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - max);
      const double score_error =
          ((static_cast<double>(s.dim) + 5) * largest_norm + 12 * s.soft_cap) * kUnit;
      const double keys = static_cast<double>(row + 1);
      const double relative = std::expm1(2 * score_error) + (2 * keys + 6) * kUnit;
      for (int64_t d = 0; d < s.dim; ++d) {
        double value = 0;
        double norm = 0;
        for (int64_t key = first; key <= row; ++key) {
          const double term =
              weights[key - first] / sum * in.v[key * in.kv_width() + kv_head * s.dim + d];
          value += term;
          norm += std::abs(term);
        }
        ASSERT_NEAR(
            actual[row * in.q_width() + head * s.dim + d], value, 1.01 * relative * norm + 1e-37)
            << Name(s) << " row " << row << " head " << head << " dim " << d;
      }
    }
  }
}

TEST(Attention, IsWithinTheRoundingBoundOfTheReference) {
  for (const Shape& shape : Shapes()) {
    const Sequence sequence(shape);
    ExpectNearReference(sequence, sequence.InChunksOf(shape.keys));
  }
}

TEST(Attention, AnyChunkingGivesTheSameBits) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(Name(shape));
    const Sequence sequence(shape);
    const std::vector<float> at_once = sequence.InChunksOf(shape.keys);
    for (const int64_t chunk : {1, 2, 3, 5, 6, 7, 16}) {
      EXPECT_TRUE(SameBits(sequence.InChunksOf(chunk), at_once)) << chunk;
    }
  }
}

TEST(Attention, AHeadDoesNotDependOnTheOtherHeadsOfItsGroup) {
  const Shape grouped = {6, 2, 24, 40};
  const Sequence all(grouped);
  const std::vector<float> expected = all.InChunksOf(40);
  for (int64_t head = 0; head < grouped.heads; ++head) {
    Sequence one({1, 1, grouped.dim, grouped.keys});
    const int64_t kv_head = head / 3;
    for (int64_t i = 0; i < grouped.keys; ++i) {
      for (int64_t d = 0; d < grouped.dim; ++d) {
        one.q[i * grouped.dim + d] = all.q[i * all.q_width() + head * grouped.dim + d];
        one.k[i * grouped.dim + d] = all.k[i * all.kv_width() + kv_head * grouped.dim + d];
        one.v[i * grouped.dim + d] = all.v[i * all.kv_width() + kv_head * grouped.dim + d];
      }
    }
    const std::vector<float> actual = one.InChunksOf(9);
    for (int64_t i = 0; i < grouped.keys; ++i) {
      for (int64_t d = 0; d < grouped.dim; ++d) {
        ASSERT_TRUE(SameBits(actual[i * grouped.dim + d],
                             expected[i * all.q_width() + head * grouped.dim + d]));
      }
    }
  }
}

TEST(Attention, TruncatedPositionsLeaveNoTrace) {
  const Shape shape = {4, 2, 20, 50};
  const Sequence sequence(shape);
  Sequence other(shape, 99);
  for (float& value : other.v) value = std::numeric_limits<float>::infinity();
  for (float& value : other.k) value = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> expected = sequence.InChunksOf(50);
  for (const int64_t keep : {0, 1, 15, 16, 17, 33}) {
    KeyValuePanels kv;
    kv.Reset(shape.kv_heads, shape.dim, shape.keys);
    if (keep > 0) sequence.Extend(keep, &kv);
    other.Extend(50, &kv);
    kv.Truncate(keep);
    EXPECT_EQ(kv.size(), keep);
    const std::vector<float> again = sequence.Extend(50, &kv);
    EXPECT_TRUE(SameBits(
        again,
        {expected.data() + keep * sequence.q_width(), expected.size() - keep * sequence.q_width()}))
        << keep;
  }
}

// Nor do positions that have left the window, while those inside of it matter.
TEST(Attention, PositionsAheadOfTheWindowDoNotReachARow) {
  const Shape shape = {4, 2, 20, 60, 19};
  Sequence sequence(shape);
  const std::vector<float> expected = sequence.InChunksOf(60);
  const int64_t bad = 23;
  for (int64_t d = 0; d < sequence.kv_width(); ++d) {
    sequence.k[bad * sequence.kv_width() + d] = std::numeric_limits<float>::quiet_NaN();
    sequence.v[bad * sequence.kv_width() + d] = std::numeric_limits<float>::infinity();
  }
  for (const int64_t chunk : {60, 7, 1}) {
    const std::vector<float> actual = sequence.InChunksOf(chunk);
    for (int64_t row = 0; row < shape.keys; ++row) {
      const bool sees = row >= bad && row < bad + shape.window;
      for (int64_t d = row * sequence.q_width(); d < (row + 1) * sequence.q_width(); ++d) {
        if (sees) {
          ASSERT_TRUE(std::isnan(actual[d])) << row;
        } else {
          ASSERT_EQ(actual[d], expected[d]) << row;
        }
      }
    }
  }
}

TEST(Attention, AWindowAsLongAsTheSequenceIsNone) {
  const Sequence none({4, 2, 20, 37});
  const Sequence wide({4, 2, 20, 37, 37});
  EXPECT_TRUE(SameBits(none.InChunksOf(5), wide.InChunksOf(5)));
}

// A position that a query must not see never reaches it, not even as 0 * infinity.
TEST(Attention, LaterPositionsDoNotReachEarlierRows) {
  const Shape shape = {4, 2, 20, 30};
  Sequence sequence(shape);
  const std::vector<float> expected = sequence.InChunksOf(30);
  const int64_t bad = 19;
  for (int64_t d = 0; d < sequence.kv_width(); ++d) {
    sequence.k[bad * sequence.kv_width() + d] = std::numeric_limits<float>::quiet_NaN();
    sequence.v[bad * sequence.kv_width() + d] = std::numeric_limits<float>::infinity();
  }
  const std::vector<float> actual = sequence.InChunksOf(30);
  const size_t before = bad * sequence.q_width();
  EXPECT_TRUE(SameBits({actual.data(), before}, {expected.data(), before}));
  for (size_t i = before; i < actual.size(); ++i) EXPECT_TRUE(std::isnan(actual[i]));
}

TEST(Attention, WorkspacesMayBeReusedAcrossShapes) {
  AttentionWorkspace workspace;
  for (const Shape& shape : Shapes()) {
    const Sequence sequence(shape);
    KeyValuePanels kv;
    kv.Reset(shape.kv_heads, shape.dim, shape.keys);
    const std::vector<float> expected = sequence.Extend(shape.keys, &kv);
    std::vector<float> actual(expected.size());
    Attention(shape.Parameters(),
              sequence.q.data(),
              sequence.q_width(),
              kv,
              shape.heads,
              shape.keys,
              actual.data(),
              sequence.q_width(),
              &workspace);
    EXPECT_TRUE(SameBits(actual, expected));
  }
}

TEST(AttentionDeathTest, MorePositionsThanReservedIsAProgrammerError) {
  KeyValuePanels kv;
  kv.Reset(1, 4, 16);
  const std::vector<float> x(17 * 4);
  EXPECT_DEATH(kv.Append(x.data(), x.data(), 4, 17), "max_keys");
}

}  // namespace
}  // namespace bitbudget
