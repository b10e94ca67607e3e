// Evaluator::EvaluateFdt: rows of live probes in chunks of completion positions.
#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/eval/evaluator.h"
#include "runtime/model/generate.h"

namespace bitbudget {
namespace {

// Completion positions per chunk: few at first, since bad candidates diverge early, then enough for
// the kernels to be at full speed with few live probes.
constexpr int64_t kFirstChunk = 8;
constexpr int64_t kLargestChunk = 32;

// A probe that has not diverged yet.
struct LiveProbe {
  int64_t index = 0;
  KvCache cache;
  int64_t first_row = 0;  // of the chunk, in the probe
  int64_t rows = 0;       // of the chunk
  int64_t positions = 0;  // of them completion positions: the last ones
  int fdt = -1;           // once it is known
};

}  // namespace

absl::StatusOr<std::vector<int>> Evaluator::EvaluateFdt(std::span<const ComponentFormat> delta,
                                                        ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  BB_RETURN_IF_ERROR(bank_->Prepare(delta, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(WithDelta(incumbent_, delta));
  return RunFdt(&weights,
                weights.assignment()[transformer_.model().head()],
                StartStage(FirstAffected(delta)),
                /*use_cache=*/true,
                range);
}

absl::StatusOr<std::vector<int>> Evaluator::EvaluateFdtFromScratch(const Assignment& assignment) {
  BB_RETURN_IF_ERROR(bank_->Prepare(assignment, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(assignment);
  return RunFdt(&weights,
                assignment[transformer_.model().head()],
                0,
                /*use_cache=*/false,
                {0, probe_count()});
}

absl::StatusOr<std::vector<int>> Evaluator::RunFdt(
    WeightSource* weights, const Format& head_format, int start, bool use_cache, ProbeRange range) {
  CHECK(range.first >= 0 && range.count >= 0 && range.first + range.count <= probe_count());
  const ModelConfig& config = transformer_.model().config();
  const int64_t width = config.hidden_size;
  const int head = NumStages(config) - 1;
  const std::vector<Probe>& probes = reference_.probes();
  // Blocks ahead of the first stage have no keys and values here.
  const int first_layer = std::max(start - 1, 0) / 2;
  int64_t room = options_.max_cache_bytes;
  for (const AlignedBuffer<float>& stream : cache_) room -= stream.size() * int64_t{sizeof(float)};
  std::vector<int> result(static_cast<size_t>(range.count));

  for (int64_t next = range.first; next < range.first + range.count;) {
    std::vector<LiveProbe> live;
    for (int64_t bytes = 0; next < range.first + range.count; ++next) {
      const int64_t rows = probes[next].rows();
      bytes += KvCacheBytes(config, rows) * (config.num_hidden_layers - first_layer) /
               config.num_hidden_layers;
      if (!live.empty() && bytes > room) break;
      live.push_back({next, KvCache(config, rows, first_layer)});
    }
    for (int64_t chunk = kFirstChunk; !live.empty(); chunk = std::min(2 * chunk, kLargestChunk)) {
      std::vector<int64_t> rows;
      for (LiveProbe& probe : live) {
        const Probe& known = probes[probe.index];
        const int64_t done = std::max<int64_t>(probe.first_row + probe.rows - known.prompt + 1, 0);
        probe.first_row += probe.rows;
        // With the stream ahead of the head at hand nothing else of the prompt is needed.
        if (done == 0 && start == head) probe.first_row = known.prompt - 1;
        probe.positions = std::min(chunk, known.completion() - done);
        probe.rows = known.prompt - 1 + done + probe.positions - probe.first_row;
        rows.push_back(probe.rows);
      }
      const std::vector<Batch> batches = MakeBatches(rows);
      x_.Resize((batches.back().first_row + batches.back().rows) * width);
      const auto body =
          [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
            const Batch& batch = batches[item];
            const std::span<LiveProbe> members(live.data() + batch.first,
                                               static_cast<size_t>(batch.count));
            float* x = x_.data() + batch.first_row * width;
            if (stage == start && use_cache && stage > 0) {
              float* to = x;
              for (const LiveProbe& probe : members) {
                const int64_t row = reference_.FirstRow(probe.index) + probe.first_row;
                std::copy_n(cache_[stage].data() + row * width, probe.rows * width, to);
                to += probe.rows * width;
              }
            }
            if (stage == 0) {
              for (const LiveProbe& probe : members) {
                transformer_.Embed(set,
                                   std::span(probes[probe.index].tokens)
                                       .subspan(static_cast<size_t>(probe.first_row),
                                                static_cast<size_t>(probe.rows)),
                                   x);
                x += probe.rows * width;
              }
              return;
            }
            if (stage < head) {
              std::vector<SequenceRows> sequences;
              for (LiveProbe& probe : members) sequences.push_back({probe.rows, &probe.cache});
              transformer_.RunStage(stage, set, sequences, x, &scratch->workspace);
              return;
            }
            for (LiveProbe& probe : members) {
              x += (probe.rows - probe.positions) * width;
              const int64_t done =
                  probe.first_row + probe.rows - probe.positions - probes[probe.index].prompt + 1;
              const int64_t miss =
                  FirstMiss(set, x, probe.positions, probes[probe.index], done, scratch);
              if (miss < probe.positions || done + miss == probes[probe.index].completion()) {
                probe.fdt = static_cast<int>(done + miss);
              }
              x += probe.positions * width;
            }
          };
      const int64_t items = static_cast<int64_t>(batches.size());
      if (start < head) {
        BB_RETURN_IF_ERROR(
            runner_.Run(weights, start, head, items, progress_, /*report=*/false, body));
      }
      BB_RETURN_IF_ERROR(PrepareScreen(weights, head_format));
      BB_RETURN_IF_ERROR(
          runner_.Run(weights, head, head + 1, items, progress_, /*report=*/false, body));
      std::vector<LiveProbe> still_live;
      for (LiveProbe& probe : live) {
        if (probe.fdt >= 0) {
          result[probe.index - range.first] = probe.fdt;
        } else {
          still_live.push_back(std::move(probe));
        }
      }
      live = std::move(still_live);
    }
  }
  return result;
}

absl::Status Evaluator::PrepareScreen(WeightSource* weights, const Format& head_format) {
  if (screen_ != nullptr && screened_format_ == head_format) return absl::OkStatus();
  screen_.reset();
  const int head = NumStages(transformer_.model().config()) - 1;
  BB_ASSIGN_OR_RETURN(const WeightLease lease, weights->Pin(head, head + 1, options_.threads));
  const WeightPanels& panels = lease.set().components[transformer_.model().head()]->panels();
  // Other paths are as fast as the screen would be.
  if (panels.path != Path::kF32) return absl::OkStatus();
  screen_ = std::make_unique<BoundedArgmax>(panels, options_.threads);
  screened_format_ = head_format;
  return absl::OkStatus();
}

int64_t Evaluator::FirstMiss(const WeightSet& weights,
                             const float* x,
                             int64_t rows,
                             const Probe& probe,
                             int64_t first_position,
                             ForwardScratch* scratch) const {
  const ModelConfig& config = transformer_.model().config();
  const std::span<const int32_t> expected =
      std::span(probe.tokens)
          .subspan(static_cast<size_t>(probe.prompt + first_position), static_cast<size_t>(rows));
  if (screen_ == nullptr) {
    scratch->logits.Resize(rows * config.vocab_size);
    transformer_.Logits(
        weights, x, config.hidden_size, rows, scratch->logits.data(), &scratch->workspace);
    for (int64_t row = 0; row < rows; ++row) {
      const std::span<const float> logits(scratch->logits.data() + row * config.vocab_size,
                                          static_cast<size_t>(config.vocab_size));
      if (ArgMax(logits) != expected[row]) return row;
    }
    return rows;
  }
  const size_t each = probe.likely.size() / static_cast<size_t>(probe.completion());
  scratch->workspace.normed.Resize(rows * config.hidden_size);
  transformer_.FinalNorm(x, config.hidden_size, rows, scratch->workspace.normed.data());
  BoundedArgmax::Workspace workspace;
  return screen_->FirstMiss(
      weights.components[transformer_.model().head()]->panels(),
      scratch->workspace.normed.data(),
      rows,
      expected,
      std::span(probe.likely)
          .subspan(static_cast<size_t>(first_position) * each, static_cast<size_t>(rows) * each),
      &workspace);
}

}  // namespace bitbudget
