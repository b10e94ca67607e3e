#include "runtime/quantize/gram.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// Tokens whose products are summed in one go, and tokens whose inputs are held at a time.
constexpr int64_t kSumTokens = 1024;
constexpr int64_t kHeldTokens = 4096;

// Rows of the matrix that a thread works on at a time.
constexpr int64_t kGramRows = 96;

// gram += x^T diag(weights) x for x[tokens][size]; without weights they are 1.
void Accumulate(std::span<const float> x,
                int64_t tokens,
                std::span<const float> weights,
                int threads,
                Gram* gram) {
  const int64_t k = gram->size;
  std::vector<float> roots(tokens, 1.0f);
  for (size_t i = 0; i < weights.size(); ++i) roots[i] = std::sqrt(weights[i]);
  std::vector<float> transposed;
  for (int64_t from = 0; from < tokens; from += kSumTokens) {
    const int64_t count = std::min(kSumTokens, tokens - from);
    transposed.resize(k * count);
    // Tiles that stay in the cache while they are turned.
    constexpr int64_t kTile = 32;
    ParallelFor(threads, (k + kTile - 1) / kTile, [&](int64_t tile, int) {
      const int64_t end = std::min(k, (tile + 1) * kTile);
      for (int64_t t = 0; t < count; t += kTile) {
        for (int64_t j = tile * kTile; j < end; ++j) {
          for (int64_t i = t; i < std::min(count, t + kTile); ++i) {
            transposed[j * count + i] = x[(from + i) * k + j] * roots[from + i];
          }
        }
      }
    });
    const WeightPanels panels = PackWeightsF32(ViewOf(transposed, k, count));
    ParallelFor(threads, (k + kGramRows - 1) / kGramRows, [&](int64_t item, int) {
      const int64_t first = item * kGramRows;
      const int64_t rows = std::min(kGramRows, k - first);
      PackedActivations packed;
      PackActivations(Path::kF32, transposed.data() + first * count, count, rows, count, &packed);
      AlignedBuffer<float> products(rows * k);
      Linear(packed, panels, products.data(), k);
      float* const out = gram->values.data() + first * k;
      for (int64_t i = 0; i < rows * k; ++i) out[i] += products[i];
    });
  }
}

// Holds the inputs of one stage's products for some consecutive sequences of a pass.
class HeldInputs final : public PassObserver {
 public:
  // Of the sources among the stage's components.
  HeldInputs(const TokenPass& pass, const Model& model, int stage) : pass_(pass), stage_(stage) {
    const std::vector<ComponentId> sources = InputSources(model);
    for (const ComponentId id : StageComponents(stage, model.config())) {
      if (stage > 0 && sources[id] == id) inputs_[id].width = model.component(id).cols;
    }
  }

  // Makes room for the inputs of `rows` rows, the first of which is `first_row` of the pass.
  void Hold(int64_t first_row, int64_t rows) {
    first_row_ = first_row;
    for (auto& [id, inputs] : inputs_) inputs.values.Resize(rows * inputs.width);
  }

  PassNeeds Needs() const override { return {.end_stage = stage_ + 1, .inputs = true}; }

  void Inputs(ComponentId id, const ObservedRows& x) override {
    const int64_t row = pass_.FirstRow(x.sequence) + x.first - first_row_;
    std::copy_n(x.values, x.rows * x.width, inputs_.at(id).values.data() + row * x.width);
  }

  struct Source {
    int64_t width = 0;
    AlignedBuffer<float> values;  // [rows][width]
  };
  const std::map<ComponentId, Source>& sources() const { return inputs_; }

 private:
  const TokenPass& pass_;
  const int stage_;
  int64_t first_row_ = 0;
  std::map<ComponentId, Source> inputs_;
};

}  // namespace

absl::Status GramStore::Add(ComponentId id, Gram gram) {
  std::vector<float>& diagonal = moments_[id];
  for (int64_t i = 0; i < gram.size; ++i) diagonal.push_back(gram.values[i * gram.size + i]);
  const int64_t bytes = static_cast<int64_t>(gram.values.size() * sizeof(float));
  if (held_bytes_ + bytes <= max_bytes_) {
    held_bytes_ += bytes;
    grams_[id] = std::move(gram);
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(const int64_t offset,
                      spill_.Append({reinterpret_cast<const uint8_t*>(gram.values.data()),
                                     static_cast<size_t>(bytes)}));
  grams_[id] = Spilled{offset, gram.size};
  return absl::OkStatus();
}

absl::StatusOr<const Gram*> GramStore::Find(ComponentId id, Gram* storage) const {
  const auto found = grams_.find(id);
  if (found == grams_.end()) return nullptr;
  if (const Gram* held = std::get_if<Gram>(&found->second)) return held;
  const Spilled& spilled = std::get<Spilled>(found->second);
  storage->size = spilled.size;
  storage->values.resize(spilled.size * spilled.size);
  BB_RETURN_IF_ERROR(spill_.Read(spilled.offset,
                                 {reinterpret_cast<uint8_t*>(storage->values.data()),
                                  storage->values.size() * sizeof(float)}));
  return storage;
}

absl::Status MeasureGrams(const Transformer& transformer,
                          WeightSource* weights,
                          const GramTokens& tokens,
                          int threads,
                          Progress* progress,
                          GramStore* store) {
  const Model& model = transformer.model();
  const std::vector<ComponentId> sources = InputSources(model);
  TokenPass pass(transformer, tokens.sequences, threads);
  std::vector<int64_t> lengths;
  for (int64_t s = 0; s < pass.sequences(); ++s) lengths.push_back(pass.Length(s));
  const std::vector<Batch> groups = MakeBatches(lengths, kHeldTokens);
  const int stages = NumStages(model.config());
  AlignedBuffer<float> x(pass.total_rows() * model.config().hidden_size);
  progress->Begin("Gram matrices", static_cast<int64_t>(groups.size()) * stages);
  int64_t done = 0;
  for (int stage = 0; stage < stages; ++stage) {
    HeldInputs held(pass, model, stage);
    std::map<ComponentId, Gram> grams;
    for (const ComponentId id : StageComponents(stage, model.config())) {
      const auto source = held.sources().find(sources[id]);
      if (source == held.sources().end()) continue;
      if (tokens.weights == nullptr && sources[id] != id) continue;
      const int64_t width = source->second.width;
      grams[id] = {width, std::vector<float>(width * width)};
    }
    for (const Batch& group : groups) {
      held.Hold(group.first_row, group.rows);
      BB_RETURN_IF_ERROR(
          pass.Run(weights, {stage, group.first, group.count}, &held, x.data(), progress));
      for (auto& [id, gram] : grams) {
        std::span<const float> weights;
        if (tokens.weights != nullptr) {
          weights = std::span(tokens.weights->at(id)).subspan(group.first_row, group.rows);
        }
        Accumulate(
            held.sources().at(sources[id]).values.span(), group.rows, weights, threads, &gram);
      }
      progress->Update(++done);
    }
    const float scale = 1.0f / static_cast<float>(std::max<int64_t>(pass.total_rows(), 1));
    for (auto& [id, gram] : grams) {
      for (float& value : gram.values) value *= scale;
      BB_RETURN_IF_ERROR(store->Add(id, std::move(gram)));
    }
  }
  progress->End();
  return absl::OkStatus();
}

}  // namespace bitbudget
