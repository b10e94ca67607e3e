#include "scoring/output_error.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/forward.h"
#include "runtime/kernels/linear.h"

namespace bitbudget {
namespace {

// Positions that go through the model at once.
constexpr int64_t kBatchRows = 512;

// Of all `total` positions the `kept` that are kept are those where floor(i kept / total) grows.
bool Keeps(int64_t position, int64_t kept, int64_t total) {
  return (position + 1) * kept / total > position * kept / total;
}

double SquaredNorm(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return sum;
}

// ||a - b||^2
double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return sum;
}

double Ratio(double error, double signal) { return error == 0 ? 0 : error / signal; }

// Memory of one worker.
struct Scratch {
  PackedActivations packed;
  AlignedBuffer<float> reference, changed;
  std::vector<float> reference_row, changed_row;
};

void Multiply(std::span<const float> x,
              int64_t rows,
              const WeightPanels& panels,
              PackedActivations* packed,
              AlignedBuffer<float>* y) {
  y->Resize(rows * panels.n);
  PackActivations(panels.path, x.data(), panels.k, rows, panels.k, packed);
  Linear(*packed, panels, y->data(), panels.n);
}

double ProductError(const InputSample& sample,
                    ComponentId component,
                    const ComponentWeights& reference,
                    const ComponentWeights& changed,
                    Scratch* ws) {
  const std::span<const float> x = sample.Inputs(component);
  Multiply(x, sample.rows(), reference.panels(), &ws->packed, &ws->reference);
  Multiply(x, sample.rows(), changed.panels(), &ws->packed, &ws->changed);
  return Ratio(SquaredDistance(ws->changed.span(), ws->reference.span()),
               SquaredNorm(ws->reference.span()));
}

double LookupError(const InputSample& sample,
                   int64_t cols,
                   const ComponentWeights& reference,
                   const ComponentWeights& changed,
                   Scratch* ws) {
  ws->reference_row.resize(cols);
  ws->changed_row.resize(cols);
  double error = 0;
  double signal = 0;
  const std::vector<int64_t>& counts = sample.token_counts();
  for (size_t token = 0; token < counts.size(); ++token) {
    if (counts[token] == 0) continue;
    reference.ReadRow(static_cast<int64_t>(token), ws->reference_row);
    changed.ReadRow(static_cast<int64_t>(token), ws->changed_row);
    const double count = static_cast<double>(counts[token]);
    error += count * SquaredDistance(ws->changed_row, ws->reference_row);
    signal += count * SquaredNorm(ws->reference_row);
  }
  return Ratio(error, signal);
}

}  // namespace

absl::StatusOr<InputSample> InputSample::Create(const Transformer& transformer,
                                                const WeightSet& weights,
                                                std::span<const std::vector<int32_t>> sequences,
                                                int64_t max_rows,
                                                int threads,
                                                Progress* progress) {
  const Model& model = transformer.model();
  const ModelConfig& config = model.config();
  InputSample sample;
  sample.token_counts_.resize(config.vocab_size);
  int64_t total = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    total += static_cast<int64_t>(sequence.size());
    for (const int32_t token : sequence) ++sample.token_counts_[token];
  }
  sample.rows_ = std::min(max_rows, total);
  sample.source_.assign(model.components().size(), -1);
  ComponentId source = -1;
  for (size_t c = 0; c < model.components().size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const ComponentKind kind = model.component(id).kind;
    if (id == model.head()) {
      source = id;
    } else if (kind == ComponentKind::kEmbedding) {
      continue;
    } else if (kind != ComponentKind::kK && kind != ComponentKind::kV &&
               kind != ComponentKind::kUp) {
      source = id;
    }
    sample.source_[id] = source;
  }

  // `position` counts the positions that earlier batches held.
  int64_t position = 0;
  int64_t kept = 0;
  ForwardScratch scratch;
  scratch.workspace.threads = threads;
  scratch.workspace.observe_input =
      [&](ComponentId component, const float* x, int64_t rows, int64_t width) {
        AlignedBuffer<float>& to = sample.inputs_[component];
        if (to.size() == 0) to.Resize(sample.rows_ * width);
        int64_t row_to = kept;
        for (int64_t row = 0; row < rows; ++row) {
          if (!Keeps(position + row, sample.rows_, total)) continue;
          std::memcpy(to.data() + row_to++ * width,
                      x + row * width,
                      static_cast<size_t>(width) * sizeof(float));
        }
      };
  progress->Begin("calibration inputs", static_cast<int64_t>(sequences.size()));
  for (size_t begin = 0; begin < sequences.size();) {
    size_t end = begin;
    int64_t rows = 0;
    std::vector<SequenceRows> batch;
    std::vector<int32_t> tokens;
    while (end < sequences.size() && rows < kBatchRows) {
      batch.push_back({static_cast<int64_t>(sequences[end].size()), nullptr});
      rows += batch.back().rows;
      tokens.insert(tokens.end(), sequences[end].begin(), sequences[end].end());
      ++end;
    }
    scratch.x.Resize(rows * config.hidden_size);
    transformer.Embed(weights, tokens, scratch.x.data());
    for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
      if (progress->Interrupted()) return absl::CancelledError("interrupted");
      transformer.RunStage(stage, weights, batch, scratch.x.data(), &scratch.workspace);
    }
    scratch.logits.Resize(rows * config.vocab_size);
    transformer.Logits(weights,
                       scratch.x.data(),
                       config.hidden_size,
                       rows,
                       scratch.logits.data(),
                       &scratch.workspace);
    for (int64_t row = 0; row < rows; ++row) kept += Keeps(position + row, sample.rows_, total);
    position += rows;
    begin = end;
    progress->Update(static_cast<int64_t>(end));
  }
  progress->End();
  return sample;
}

std::span<const float> InputSample::Inputs(ComponentId component) const {
  const auto found = inputs_.find(source_[component]);
  CHECK(found != inputs_.end()) << "component " << component << " multiplies nothing";
  return found->second.span();
}

absl::StatusOr<std::vector<double>> OutputErrors(const Model& model,
                                                 const InputSample& sample,
                                                 std::span<const ComponentFormat> changes,
                                                 EncodingBank* bank,
                                                 int threads,
                                                 Progress* progress) {
  std::vector<double> errors(changes.size());
  std::vector<Scratch> scratch(threads);
  progress->Begin("output errors", static_cast<int64_t>(changes.size()));
  for (size_t begin = 0; begin < changes.size();) {
    // A few at a time, so that the bank may let go of what was done.
    const size_t end = std::min(changes.size(), begin + static_cast<size_t>(threads));
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    BB_RETURN_IF_ERROR(bank->Prepare(changes.subspan(begin, end - begin), threads));
    std::vector<std::pair<const ComponentWeights*, const ComponentWeights*>> weights;
    for (const ComponentFormat& change : changes.subspan(begin, end - begin)) {
      weights.emplace_back(bank->Get(change.component, bank->StoredFormat(change.component)),
                           bank->Get(change.component, change.format));
    }
    ParallelFor(threads, static_cast<int64_t>(end - begin), [&](int64_t i, int worker) {
      const ComponentId id = changes[begin + i].component;
      const Component& component = model.component(id);
      const auto& [reference, changed] = weights[i];
      double error = 0;
      if (component.kind == ComponentKind::kEmbedding) {
        error += LookupError(sample, component.cols, *reference, *changed, &scratch[worker]);
      }
      if (component.kind != ComponentKind::kEmbedding || id == model.head()) {
        error += ProductError(sample, id, *reference, *changed, &scratch[worker]);
      }
      errors[begin + i] = error;
    });
    bank->Trim({});
    begin = end;
    progress->Update(static_cast<int64_t>(end));
  }
  progress->End();
  return errors;
}

}  // namespace bitbudget
