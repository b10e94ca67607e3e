#include "runtime/training/layer_attention.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <type_traits>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/kernels/table.h"
#include "runtime/training/products.h"

namespace bitbudget {
namespace {

// Rows of one sequence.
struct Rows {
  int64_t first;
  int64_t count;
};

// Calls body(rows, kv_head) for every sequence and key/value head. What they write does not
// overlap: queries belong to one key/value head.
void ForEachHead(const AttentionShape& shape,
                 std::span<const int64_t> lengths,
                 int64_t rows,
                 int threads,
                 const std::function<void(const Rows&, int64_t)>& body) {
  std::vector<Rows> sequences;
  int64_t first = 0;
  for (const int64_t length : lengths) {
    sequences.push_back({first, length});
    first += length;
  }
  CHECK_EQ(first, rows) << "the sequences are not the rows";
  const int64_t items = static_cast<int64_t>(sequences.size()) * shape.kv_heads;
  const int64_t work = rows * rows / std::max<int64_t>(1, static_cast<int64_t>(lengths.size())) *
                       shape.heads * shape.head_dim;
  ParallelFor(ThreadsFor(threads, work), items, [&](int64_t item, int) {
    const Rows& sequence = sequences[item / shape.kv_heads];
    if (sequence.count > 0) body(sequence, item % shape.kv_heads);
  });
}

template <typename T>
Matrix<T> HeadOf(const AttentionShape& shape, const Matrix<T>& x, const Rows& rows, int64_t head) {
  return x.block(rows.first, head * shape.head_dim, rows.count, shape.head_dim);
}

// Queries of one sequence that attend together, and the keys that any of them sees: later keys are
// never multiplied, which leaves little more than half of the square.
constexpr int64_t kQueriesAtOnce = 64;

struct Chunk {
  int64_t first, count;          // queries
  int64_t first_key, key_count;  // keys
};

std::vector<Chunk> Chunks(const AttentionShape& shape, int64_t length) {
  std::vector<Chunk> chunks;
  for (int64_t first = 0; first < length; first += kQueriesAtOnce) {
    const int64_t end = std::min(first + kQueriesAtOnce, length);
    const int64_t first_key = shape.FirstSeen(first);
    chunks.push_back({first, end - first, first_key, end - first_key});
  }
  return chunks;
}

// Attention weights [queries, keys] of a chunk, 0 where a position does not see another. `bent`,
// where not null, gets the derivative of every score by q.k / scale: 1, or what the soft cap makes
// of it.
template <typename T>
Matrix<T> Weights(const AttentionShape& shape,
                  const Chunk& chunk,
                  const Matrix<T>& q,
                  const Matrix<T>& k,
                  Matrix<T>* bent) {
  Matrix<T> scores = TimesTransposed(q, k, 1) * static_cast<T>(shape.scale);
  const T cap = static_cast<T>(shape.soft_cap);
  if (bent != nullptr) bent->setOnes(scores.rows(), scores.cols());
  for (int64_t i = 0; i < scores.rows(); ++i) {
    const int64_t query = chunk.first + i;
    const int64_t begin = shape.FirstSeen(query) - chunk.first_key;
    const int64_t count = query + 1 - chunk.first_key - begin;
    auto seen = scores.row(i).segment(begin, count).array();
    if (cap > 0) {
      seen = (seen / cap).tanh();
      if (bent != nullptr) {
        bent->row(i).segment(begin, count).array() = static_cast<T>(1) - seen.square();
      }
      seen *= cap;
    }
    if constexpr (std::is_same_v<T, float>) {
      Kernels().softmax(scores.row(i).data() + begin, 1, count);
    } else {
      seen = (seen - seen.maxCoeff()).exp();
      seen /= seen.sum();
    }
    scores.row(i).head(begin).setZero();
    scores.row(i).tail(scores.cols() - begin - count).setZero();
  }
  return scores;
}

}  // namespace

AttentionShape::AttentionShape(const ModelConfig& config, int layer)
    : heads(config.num_attention_heads),
      kv_heads(config.num_key_value_heads),
      head_dim(config.head_dim),
      scale(config.attention_scale),
      soft_cap(config.attention_soft_cap),
      window(config.Window(layer)) {}

template <typename T>
Matrix<T> AttentionForward(const AttentionShape& shape,
                           std::span<const int64_t> lengths,
                           const AttentionInputs<T>& inputs,
                           int threads) {
  const Matrix<T>& q = inputs.q;
  const Matrix<T>& k = inputs.k;
  const Matrix<T>& v = inputs.v;
  Matrix<T> result(q.rows(), q.cols());
  const int64_t dim = shape.head_dim;
  ForEachHead(shape, lengths, q.rows(), threads, [&](const Rows& rows, int64_t kv_head) {
    for (const Chunk& chunk : Chunks(shape, rows.count)) {
      const Rows queries{rows.first + chunk.first, chunk.count};
      const Rows seen{rows.first + chunk.first_key, chunk.key_count};
      const Matrix<T> keys = HeadOf(shape, k, seen, kv_head);
      const Matrix<T> values = HeadOf(shape, v, seen, kv_head).transpose();
      for (int64_t i = 0; i < shape.heads_per_kv(); ++i) {
        const int64_t head = kv_head * shape.heads_per_kv() + i;
        const Matrix<T> weights =
            Weights<T>(shape, chunk, HeadOf(shape, q, queries, head), keys, nullptr);
        result.block(queries.first, head * dim, queries.count, dim) =
            TimesTransposed(weights, values, 1);
      }
    }
  });
  return result;
}

template <typename T>
AttentionGradient<T> AttentionBackward(const AttentionShape& shape,
                                       std::span<const int64_t> lengths,
                                       const AttentionInputs<T>& inputs,
                                       const Matrix<T>& d_result,
                                       int threads) {
  const Matrix<T>& q = inputs.q;
  const Matrix<T>& k = inputs.k;
  const Matrix<T>& v = inputs.v;
  const int64_t dim = shape.head_dim;
  AttentionGradient<T> gradient;
  gradient.q.resize(q.rows(), q.cols());
  gradient.k.setZero(k.rows(), k.cols());
  gradient.v.setZero(v.rows(), v.cols());
  ForEachHead(shape, lengths, q.rows(), threads, [&](const Rows& rows, int64_t kv_head) {
    for (const Chunk& chunk : Chunks(shape, rows.count)) {
      const Rows queries{rows.first + chunk.first, chunk.count};
      const Rows seen{rows.first + chunk.first_key, chunk.key_count};
      const Matrix<T> keys = HeadOf(shape, k, seen, kv_head);
      const Matrix<T> keys_transposed = keys.transpose();
      const Matrix<T> values = HeadOf(shape, v, seen, kv_head);
      auto d_keys = gradient.k.block(seen.first, kv_head * dim, seen.count, dim);
      auto d_values = gradient.v.block(seen.first, kv_head * dim, seen.count, dim);
      for (int64_t i = 0; i < shape.heads_per_kv(); ++i) {
        const int64_t head = kv_head * shape.heads_per_kv() + i;
        const Matrix<T> query = HeadOf(shape, q, queries, head);
        const Matrix<T> d_context = HeadOf(shape, d_result, queries, head);
        Matrix<T> bent;
        const Matrix<T> weights = Weights(shape, chunk, query, keys, &bent);
        d_values += TransposedTimes(weights, d_context, 1);
        // Through the softmax: w * (d_w - sum(w d_w)); then the cap and the scale.
        Matrix<T> d_scores = TimesTransposed(d_context, values, 1);
        for (int64_t row = 0; row < queries.count; ++row) {
          const T mean = d_scores.row(row).dot(weights.row(row));
          d_scores.row(row).array() = weights.row(row).array() *
                                      (d_scores.row(row).array() - mean) * bent.row(row).array() *
                                      static_cast<T>(shape.scale);
        }
        gradient.q.block(queries.first, head * dim, queries.count, dim) =
            TimesTransposed(d_scores, keys_transposed, 1);
        d_keys += TransposedTimes(d_scores, query, 1);
      }
    }
  });
  return gradient;
}

#define BB_INSTANTIATE(T)                                                               \
  template Matrix<T> AttentionForward<T>(                                               \
      const AttentionShape&, std::span<const int64_t>, const AttentionInputs<T>&, int); \
  template AttentionGradient<T> AttentionBackward<T>(const AttentionShape&,             \
                                                     std::span<const int64_t>,          \
                                                     const AttentionInputs<T>&,         \
                                                     const Matrix<T>&,                  \
                                                     int);
BB_INSTANTIATE(float)
BB_INSTANTIATE(double)
#undef BB_INSTANTIATE

}  // namespace bitbudget
