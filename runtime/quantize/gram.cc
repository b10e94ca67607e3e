#include "runtime/quantize/gram.h"

#include <algorithm>
#include <utility>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// Tokens whose products are summed in one go, and tokens whose inputs are held at a time.
constexpr int64_t kSumTokens = 1024;
constexpr int64_t kHeldTokens = 4096;

// Rows of the matrix that a thread works on at a time.
constexpr int64_t kGramRows = 96;

// gram += x^T x for x[tokens][size].
void Accumulate(std::span<const float> x, int64_t tokens, int threads, Gram* gram) {
  const int64_t k = gram->size;
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
            transposed[j * count + i] = x[(from + i) * k + j];
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

// The inputs x[tokens][width] of one source on the tokens at hand.
struct HeldInputs {
  int64_t width = 0;
  AlignedBuffer<float> values;
};

}  // namespace

absl::Status GramStore::Add(ComponentId source, Gram gram) {
  std::vector<float>& diagonal = moments_[source];
  for (int64_t i = 0; i < gram.size; ++i) diagonal.push_back(gram.values[i * gram.size + i]);
  const int64_t bytes = static_cast<int64_t>(gram.values.size() * sizeof(float));
  if (held_bytes_ + bytes <= max_bytes_) {
    held_bytes_ += bytes;
    grams_[source] = std::move(gram);
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(const int64_t offset,
                      spill_.Append({reinterpret_cast<const uint8_t*>(gram.values.data()),
                                     static_cast<size_t>(bytes)}));
  grams_[source] = Spilled{offset, gram.size};
  return absl::OkStatus();
}

absl::StatusOr<const Gram*> GramStore::Find(ComponentId source, Gram* storage) const {
  const auto found = grams_.find(source);
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
                          std::span<const std::vector<int32_t>> sequences,
                          int threads,
                          Progress* progress,
                          GramStore* store) {
  const Model& model = transformer.model();
  const int64_t hidden = model.config().hidden_size;
  const std::vector<ComponentId> sources = InputSources(model);
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    lengths.push_back(static_cast<int64_t>(sequence.size()));
    tokens += lengths.back();
  }
  const std::vector<Batch> parts = MakeBatches(lengths, kHeldTokens);
  const int last = NumStages(model.config()) - 1;
  std::vector<AlignedBuffer<float>> streams(sequences.size());
  StageRunner runner(threads);
  progress->Begin("Gram matrices", static_cast<int64_t>(parts.size()) * (last + 1));
  int64_t done = 0;
  for (int stage = 0; stage <= last; ++stage) {
    std::map<ComponentId, Gram> grams;
    std::map<ComponentId, HeldInputs> held;
    for (const ComponentId id : StageComponents(stage, model.config())) {
      if (sources[id] != id || (stage == 0)) continue;
      const int64_t k = model.component(id).cols;
      grams[id] = {k, std::vector<float>(k * k)};
      held[id].width = k;
    }
    for (const Batch& part : parts) {
      for (auto& [id, inputs] : held) inputs.values.Resize(part.rows * inputs.width);
      std::vector<int64_t> first_row(part.count);
      for (int64_t i = 1; i < part.count; ++i) {
        first_row[i] = first_row[i - 1] + lengths[part.first + i - 1];
      }
      const auto body = [&](int, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
        const std::vector<int32_t>& sequence = sequences[part.first + item];
        AlignedBuffer<float>& x = streams[part.first + item];
        const int64_t rows = static_cast<int64_t>(sequence.size());
        if (stage == 0) {
          x.Resize(rows * hidden);
          transformer.Embed(set, sequence, x.data());
        } else if (stage < last) {
          scratch->workspace.observe_input =
              [&](ComponentId id, const float* inputs, int64_t count, int64_t width) {
                std::copy_n(
                    inputs, count * width, held.at(id).values.data() + first_row[item] * width);
              };
          const SequenceRows whole{rows, nullptr};
          transformer.RunStage(stage, set, {&whole, 1}, x.data(), &scratch->workspace);
          scratch->workspace.observe_input = nullptr;
        } else {
          // The head's inputs, without the work of the head.
          transformer.FinalNorm(x.data(),
                                hidden,
                                rows,
                                held.at(model.head()).values.data() + first_row[item] * hidden);
        }
      };
      BB_RETURN_IF_ERROR(
          runner.Run(weights, stage, stage + 1, part.count, progress, /*report=*/false, body));
      for (auto& [id, gram] : grams) {
        Accumulate(held.at(id).values.span(), part.rows, threads, &gram);
      }
      progress->Update(++done);
    }
    for (auto& [id, gram] : grams) {
      const float scale = 1.0f / static_cast<float>(std::max<int64_t>(tokens, 1));
      for (float& value : gram.values) value *= scale;
      BB_RETURN_IF_ERROR(store->Add(id, std::move(gram)));
    }
  }
  progress->End();
  return absl::OkStatus();
}

}  // namespace bitbudget
