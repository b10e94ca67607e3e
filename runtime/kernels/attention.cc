#include "runtime/kernels/attention.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/kernels/layout.h"
#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace

void KeyValuePanels::Reset(int64_t kv_heads, int64_t head_dim, int64_t max_keys) {
  CHECK_GT(kv_heads, 0);
  CHECK_GT(head_dim, 0);
  CHECK_GE(max_keys, 0);
  kv_heads_ = kv_heads;
  head_dim_ = head_dim;
  max_keys_ = RoundUp(max_keys, kPanelWidth);
  size_ = 0;
  keys_.Resize(kv_heads * max_keys_ * head_dim);
  values_.Resize(kv_heads * RoundUp(head_dim, kPanelWidth) * max_keys_);
}

void KeyValuePanels::Append(const float* k, const float* v, int64_t ld, int64_t count) {
  CHECK_GE(count, 0);
  CHECK_LE(size_ + count, max_keys_);
  CHECK_GE(ld, kv_heads_ * head_dim_);
  for (int64_t i = 0; i < count; ++i, ++size_) {
    const int64_t lane = size_ % kPanelWidth;
    for (int64_t head = 0; head < kv_heads_; ++head) {
      const float* key = k + i * ld + head * head_dim_;
      const float* value = v + i * ld + head * head_dim_;
      float* panel = keys_.data() + KeyOffset(head, size_ / kPanelWidth);
      // The tile reads whole panels, so keys that are not there yet must be numbers.
      if (lane == 0) std::fill_n(panel, head_dim_ * kPanelWidth, 0.0f);
      for (int64_t d = 0; d < head_dim_; ++d) panel[d * kPanelWidth + lane] = key[d];
      for (int64_t d = 0; d < head_dim_; d += kPanelWidth) {
        float* row = values_.data() + ValueOffset(head, d / kPanelWidth) + size_ * kPanelWidth;
        const int64_t dims = std::min<int64_t>(kPanelWidth, head_dim_ - d);
        std::copy_n(value + d, dims, row);
        std::fill(row + dims, row + kPanelWidth, 0.0f);
      }
    }
  }
}

void KeyValuePanels::Truncate(int64_t size) {
  CHECK_GE(size, 0);
  CHECK_LE(size, size_);
  size_ = size;
}

int64_t KeyValuePanels::KeyOffset(int64_t kv_head, int64_t key_block) const {
  return (kv_head * max_keys_ + key_block * kPanelWidth) * head_dim_;
}

int64_t KeyValuePanels::ValueStride() const { return max_keys_ * kPanelWidth; }

int64_t KeyValuePanels::ValueOffset(int64_t kv_head, int64_t dim_block) const {
  const int64_t dim_blocks = RoundUp(head_dim_, kPanelWidth) / kPanelWidth;
  return (kv_head * dim_blocks + dim_block) * ValueStride();
}

void Attention(const AttentionParameters& parameters,
               const float* q,
               int64_t ldq,
               const KeyValuePanels& kv,
               int64_t heads,
               int64_t rows,
               float* out,
               int64_t ldo,
               AttentionWorkspace* workspace) {
  const KernelTable& kernels = Kernels();
  const int64_t dim = kv.head_dim();
  CHECK_EQ(heads % kv.kv_heads(), 0) << "heads must be a multiple of the key/value heads";
  CHECK_LE(rows, kv.size());
  CHECK_GE(ldq, heads * dim);
  CHECK_GE(ldo, heads * dim);
  CHECK_GE(parameters.window, 0);
  const int64_t group = heads / kv.kv_heads();
  const int64_t padded_keys = RoundUp(kv.size(), kPanelWidth);
  const int64_t dim_panels = RoundUp(dim, kPanelWidth) / kPanelWidth;
  const int64_t tile_width = dim_panels * kPanelWidth;
  const int64_t window = parameters.window == 0 ? kv.size() : parameters.window;
  workspace->gathered.Resize(kTileRows * dim);
  workspace->queries.Resize(dim * kTileRows);
  workspace->scores.Resize(kTileRows * padded_keys);
  workspace->weights.Resize(padded_keys * kTileRows);
  workspace->tile.Resize(kTileRows * tile_width);
  float* const scores = workspace->scores.data();
  float* const weights = workspace->weights.data();
  float* const tile = workspace->tile.data();

  for (int64_t kv_head = 0; kv_head < kv.kv_heads(); ++kv_head) {
    // The queries that share this head's keys and values, position by position: query i belongs to
    // position i / group and head kv_head * group + i % group.
    const int64_t queries = rows * group;
    for (int64_t first = 0; first < queries; first += kTileRows) {
      const int count = static_cast<int>(std::min<int64_t>(kTileRows, queries - first));
      const auto position = [&](int r) { return (first + r) / group; };
      const auto head = [&](int r) { return kv_head * group + (first + r) % group; };
      // Row r sees the keys [begin(r), end(r)); both ends never fall from row to row.
      const auto end = [&](int r) { return kv.size() - rows + position(r) + 1; };
      const auto begin = [&](int r) { return std::max<int64_t>(0, end(r) - window); };

      for (int r = 0; r < count; ++r) {
        std::copy_n(
            q + position(r) * ldq + head(r) * dim, dim, workspace->gathered.data() + r * dim);
      }
      kernels.pack_f32(workspace->gathered.data(), dim, count, dim, dim, workspace->queries.data());
      // Scores and weights of whole key panels, from the first one that a row sees.
      const int64_t first_key = begin(0) / kPanelWidth * kPanelWidth;
      const int64_t keys = end(count - 1) - first_key;
      kernels.tile_f32(workspace->queries.data(),
                       kv.KeyPanel(kv_head, first_key / kPanelWidth),
                       dim * kPanelWidth,
                       dim,
                       count,
                       RoundUp(keys, kPanelWidth) / kPanelWidth,
                       /*accumulate=*/false,
                       scores,
                       padded_keys);
      for (int r = 0; r < count; ++r) {
        float* row = scores + r * padded_keys + begin(r) - first_key;
        const int64_t visible = end(r) - begin(r);
        if (parameters.soft_cap > 0) {
          kernels.soft_cap(row, parameters.scale, parameters.soft_cap, visible);
        }
        kernels.softmax(row, parameters.soft_cap > 0 ? 1 : parameters.scale, visible);
      }
      kernels.pack_f32(scores, padded_keys, count, keys, keys, weights);

      // Runs of keys that the same rows see, in increasing order. Zero weights for the other rows
      // would not do: 0 * infinity in a value that a row must not see is NaN.
      std::fill_n(tile, count * tile_width, 0.0f);
      int low = 0;  // the rows that see `key` are [low, high)
      int high = 0;
      for (int64_t key = begin(0); key < first_key + keys;) {
        while (end(low) <= key) ++low;
        while (high < count && begin(high) <= key) ++high;
        const int64_t next = high < count ? std::min(end(low), begin(high)) : end(low);
        kernels.tile_f32(weights + (key - first_key) * kTileRows + low,
                         kv.ValuePanel(kv_head, 0) + key * kPanelWidth,
                         kv.ValueStride(),
                         next - key,
                         high - low,
                         dim_panels,
                         /*accumulate=*/true,
                         tile + low * tile_width,
                         tile_width);
        key = next;
      }
      for (int r = 0; r < count; ++r) {
        std::copy_n(tile + r * tile_width, dim, out + position(r) * ldo + head(r) * dim);
      }
    }
  }
}

}  // namespace bitbudget
