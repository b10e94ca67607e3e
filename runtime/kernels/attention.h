#ifndef BITBUDGET_RUNTIME_KERNELS_ATTENTION_H_
#define BITBUDGET_RUNTIME_KERNELS_ATTENTION_H_

#include <cstdint>

#include "runtime/base/aligned_buffer.h"

namespace bitbudget {

// Keys and values of one layer of one sequence, stored as f32 weight panels so that both products
// of attention run on the f32 tile: keys as f32[kv head][key / 16][head_dim][16 keys], values as
// f32[kv head][dim / 16][key][16 dims] (head_dim padded to 16 with zeros).
class KeyValuePanels {
 public:
  // Room for `max_keys` positions; drops what was stored.
  void Reset(int64_t kv_heads, int64_t head_dim, int64_t max_keys);

  // Appends `count` positions; k and v are [count][kv_heads * head_dim] with row stride ld.
  // REQUIRES: size() + count <= max_keys.
  void Append(const float* k, const float* v, int64_t ld, int64_t count);

  // Forgets all positions from `size` on. REQUIRES: size <= size().
  void Truncate(int64_t size);

  int64_t size() const { return size_; }
  int64_t kv_heads() const { return kv_heads_; }
  int64_t head_dim() const { return head_dim_; }
  const float* KeyPanel(int64_t kv_head, int64_t key_block) const {
    return keys_.data() + KeyOffset(kv_head, key_block);
  }
  const float* ValuePanel(int64_t kv_head, int64_t dim_block) const {
    return values_.data() + ValueOffset(kv_head, dim_block);
  }
  // Elements between the value panels of one head.
  int64_t ValueStride() const;

 private:
  int64_t KeyOffset(int64_t kv_head, int64_t key_block) const;
  int64_t ValueOffset(int64_t kv_head, int64_t dim_block) const;

  int64_t kv_heads_ = 0;
  int64_t head_dim_ = 0;
  int64_t max_keys_ = 0;  // padded to 16
  int64_t size_ = 0;
  AlignedBuffer<float> keys_;
  AlignedBuffer<float> values_;
};

// Reused between calls; one per thread.
struct AttentionWorkspace {
  AlignedBuffer<float> gathered;  // [6][head_dim]
  AlignedBuffer<float> queries;   // [head_dim][6]
  AlignedBuffer<float> scores;    // [6][keys padded to 16]
  AlignedBuffer<float> weights;   // [keys][6]
  AlignedBuffer<float> tile;      // [6][head_dim padded to 16]
};

struct AttentionParameters {
  float scale = 1;     // scores are q.k * scale
  float soft_cap = 0;  // scaled scores become cap * tanh(score / cap); 0: they stay
  int64_t window = 0;  // keys that a position sees, the last of them its own; 0: all up to it
};

// Causal grouped-query attention for `rows` query positions that are the last ones in `kv` (the
// query of row r sees keys up to kv.size() - rows + r, or the last `window` of them). q and out are
// [rows][heads * head_dim] with row strides ldq, ldo. A row's result is bitwise the same whether
// its position is computed alone or in any chunk, and does not depend on keys that it does not see.
void Attention(const AttentionParameters& parameters,
               const float* q,
               int64_t ldq,
               const KeyValuePanels& kv,
               int64_t heads,
               int64_t rows,
               float* out,
               int64_t ldo,
               AttentionWorkspace* workspace);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_ATTENTION_H_
