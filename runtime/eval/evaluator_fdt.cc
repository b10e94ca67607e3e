// Evaluator::EvaluateFdt: rows of live probes in chunks of completion positions. On StageRunner,
// not TokenPass: sequences come in pieces, with their keys and values kept, and leave half-way.
#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/eval/evaluator.h"
#include "runtime/model/decoder/generate.h"

namespace bitbudget {
namespace {

// Completion positions per chunk: few at first, as bad candidates diverge early, then enough to
// keep the kernels at full speed when few probes are live.
constexpr int64_t kFirstChunk = 8;
constexpr int64_t kLargestChunk = 32;

}  // namespace

// One EvaluateFdt: groups of probes whose keys and values fit in memory together, one group after
// the other, each in chunks of completion positions until its probes have diverged or ended.
class Evaluator::FdtPass {
 public:
  // Starts from the incumbent's stream ahead of stage `start`, or at the embedding (0).
  FdtPass(Evaluator* evaluator, WeightSource* weights, const Format& head_format, int start)
      : evaluator_(*evaluator),
        transformer_(evaluator->transformer_),
        probes_(evaluator->reference_.probes()),
        width_(transformer_.model().config().hidden_size),
        head_(NumStages(transformer_.model().config()) - 1),
        weights_(weights),
        head_format_(head_format),
        start_(start) {}

  absl::StatusOr<std::vector<int>> Run(ProbeRange range) {
    std::vector<int> result(static_cast<size_t>(range.count));
    const int64_t end = range.first + range.count;
    for (int64_t next = range.first; next < end;) {
      next = TakeProbes(next, end);
      for (int64_t chunk = kFirstChunk; !live_.empty();
           chunk = std::min(2 * chunk, kLargestChunk)) {
        BB_RETURN_IF_ERROR(RunChunk(chunk));
        std::vector<LiveProbe> still_live;
        for (LiveProbe& probe : live_) {
          if (probe.fdt >= 0) {
            result[probe.index - range.first] = probe.fdt;
          } else {
            still_live.push_back(std::move(probe));
          }
        }
        live_ = std::move(still_live);
      }
    }
    return result;
  }

 private:
  // A probe that has not diverged yet.
  struct LiveProbe {
    int64_t index = 0;
    KvCache cache;
    int64_t first_row = 0;  // of the chunk, in the probe
    int64_t rows = 0;       // of the chunk
    int64_t positions = 0;  // of them completion positions: the last ones
    int64_t done = 0;       // completion positions ahead of the chunk
    int fdt = -1;           // once it is known
  };

  // Makes the probes from `next` on live, as many as fit in memory and at least one; returns the
  // one after them.
  int64_t TakeProbes(int64_t next, int64_t end) {
    const ModelConfig& config = transformer_.model().config();
    // Layers ahead of the first stage have no keys and values here.
    const int first_layer = std::max(start_ - 1, 0) / 2;
    int64_t room = evaluator_.options_.max_cache_bytes;
    for (const AlignedBuffer<float>& stream : evaluator_.cache_) {
      room -= stream.size() * int64_t{sizeof(float)};
    }
    for (; next < end; ++next) {
      const int64_t rows = probes_[next].rows();
      room -= KvCacheBytes(config, rows) * (config.num_hidden_layers - first_layer) /
              config.num_hidden_layers;
      if (!live_.empty() && room < 0) break;
      live_.push_back({next, KvCache(config, rows, first_layer)});
    }
    return next;
  }

  // Moves every live probe on by up to `chunk` completion positions; the first chunk has the prompt
  // as well. Returns the rows of each.
  std::vector<int64_t> NextRows(int64_t chunk) {
    std::vector<int64_t> rows;
    for (LiveProbe& probe : live_) {
      const Probe& known = probes_[probe.index];
      probe.first_row += probe.rows;
      probe.done += probe.positions;
      // From a stream ahead of the head, no other row of the prompt is needed.
      if (probe.done == 0 && start_ == head_) probe.first_row = known.prompt - 1;
      probe.positions = std::min(chunk, known.completion() - probe.done);
      probe.rows = known.prompt - 1 + probe.done + probe.positions - probe.first_row;
      rows.push_back(probe.rows);
    }
    return rows;
  }

  absl::Status RunChunk(int64_t chunk) {
    const std::vector<Batch> batches = MakeBatches(NextRows(chunk));
    evaluator_.x_.Resize((batches.back().first_row + batches.back().rows) * width_);
    const auto body = [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
      const Batch& batch = batches[item];
      RunBatch(stage,
               set,
               std::span(live_).subspan(static_cast<size_t>(batch.first),
                                        static_cast<size_t>(batch.count)),
               evaluator_.x_.data() + batch.first_row * width_,
               scratch);
    };
    const auto run = [&](int from, int to) {
      return from == to ? absl::OkStatus()
                        : evaluator_.runner_.Run(weights_,
                                                 {from, to, static_cast<int64_t>(batches.size())},
                                                 evaluator_.progress_,
                                                 Steps::kSilent,
                                                 body);
    };
    BB_RETURN_IF_ERROR(run(start_, head_));
    BB_RETURN_IF_ERROR(evaluator_.PrepareScreen(weights_, head_format_));
    return run(head_, head_ + 1);
  }

  // One stage of some probes' rows of the chunk; x is their stream.
  void RunBatch(int stage,
                const WeightSet& set,
                std::span<LiveProbe> batch,
                float* x,
                ForwardScratch* scratch) const {
    if (stage == 0) return Embed(set, batch, x);
    if (stage == start_) LoadStream(batch, x);
    if (stage == head_) return Decide(set, batch, x, scratch);
    std::vector<SequenceRows> sequences;
    for (LiveProbe& probe : batch) sequences.push_back({probe.rows, &probe.cache});
    transformer_.RunStage(stage, set, sequences, x, &scratch->workspace);
  }

  void Embed(const WeightSet& set, std::span<const LiveProbe> batch, float* x) const {
    for (const LiveProbe& probe : batch) {
      transformer_.Embed(
          set,
          std::span(probes_[probe.index].tokens)
              .subspan(static_cast<size_t>(probe.first_row), static_cast<size_t>(probe.rows)),
          x);
      x += probe.rows * width_;
    }
  }

  void LoadStream(std::span<const LiveProbe> batch, float* x) const {
    const AlignedBuffer<float>& stream = evaluator_.cache_[start_];
    for (const LiveProbe& probe : batch) {
      const int64_t row = evaluator_.reference_.FirstRow(probe.index) + probe.first_row;
      std::copy_n(stream.data() + row * width_, probe.rows * width_, x);
      x += probe.rows * width_;
    }
  }

  // Sets the fdt of probes that diverge in this chunk or end with it.
  void Decide(const WeightSet& head,
              std::span<LiveProbe> batch,
              const float* x,
              ForwardScratch* scratch) const {
    for (LiveProbe& probe : batch) {
      const Probe& known = probes_[probe.index];
      x += (probe.rows - probe.positions) * width_;
      const int64_t miss =
          evaluator_.FirstMiss(head, x, probe.positions, known, probe.done, scratch);
      if (miss < probe.positions || probe.done + miss == known.completion()) {
        probe.fdt = static_cast<int>(probe.done + miss);
      }
      x += probe.positions * width_;
    }
  }

  Evaluator& evaluator_;
  const Transformer& transformer_;
  const std::vector<Probe>& probes_;
  const int64_t width_;
  const int head_;
  WeightSource* const weights_;
  const Format head_format_;
  const int start_;
  std::vector<LiveProbe> live_;
};

absl::StatusOr<std::vector<int>> Evaluator::EvaluateFdt(std::span<const ComponentFormat> delta,
                                                        ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  CHECK(range.first >= 0 && range.count >= 0 && range.first + range.count <= probe_count());
  BB_RETURN_IF_ERROR(bank_->Prepare(delta, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(WithDelta(incumbent_, delta));
  const Format& head_format = weights.assignment()[transformer_.model().head()];
  const int start = StartStage(FirstAffected(delta));
  return FdtPass(this, &weights, head_format, start).Run(range);
}

absl::StatusOr<std::vector<int>> Evaluator::EvaluateFdtFromScratch(const Assignment& assignment) {
  BB_RETURN_IF_ERROR(bank_->Prepare(assignment, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(assignment);
  const Format& head_format = assignment[transformer_.model().head()];
  return FdtPass(this, &weights, head_format, 0).Run({0, probe_count()});
}

absl::Status Evaluator::PrepareScreen(WeightSource* weights, const Format& head_format) {
  if (screen_ != nullptr && screened_format_ == head_format) return absl::OkStatus();
  screen_.reset();
  const int head = NumStages(transformer_.model().config()) - 1;
  BB_ASSIGN_OR_RETURN(const WeightLease lease, weights->Pin(head, head + 1, options_.threads));
  const WeightPanels& panels = lease.set().components[transformer_.model().head()]->panels();
  // Other paths are as fast as the screen would be.
  if (panels.path != Path::kF32 || panels.layer_norm) return absl::OkStatus();
  screen_ = std::make_unique<BoundedArgmax>(
      panels, transformer_.model().config().final_soft_cap, options_.threads);
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
  transformer_.FinalNorm(weights.FinalNormOf(transformer_.model()),
                         x,
                         config.hidden_size,
                         rows,
                         scratch->workspace.normed.data());
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
