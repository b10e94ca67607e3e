#include "runtime/quantize/input_moments.h"

#include <algorithm>
#include <utility>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/quantize/input_sources.h"

namespace bitbudget {
namespace {

// Sequences are summed up in so many parts, each in order, and the parts in order: the sums do not
// depend on threads.
constexpr int64_t kParts = 8;

using Sums = std::map<ComponentId, std::vector<double>>;

}  // namespace

absl::StatusOr<InputMoments> MeasureInputMoments(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> sequences,
                                                 int threads,
                                                 Progress* progress) {
  const Model& model = transformer.model();
  const ModelConfig& config = model.config();
  const int64_t width = config.hidden_size;
  const int64_t count = static_cast<int64_t>(sequences.size());
  const int64_t parts = std::min(kParts, count);
  Sums zeros;
  const std::vector<ComponentId> sources = InputSources(model);
  for (size_t c = 0; c < sources.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (sources[c] == id) zeros[id].resize(model.component(id).cols);
  }
  std::vector<Sums> sums(parts, zeros);

  int64_t tokens = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    tokens += static_cast<int64_t>(sequence.size());
  }
  std::vector<AlignedBuffer<float>> streams(count);
  const int last = NumStages(config) - 1;
  const auto run = [&](int stage, const WeightSet& set, int64_t i, ForwardScratch* scratch) {
    const int64_t rows = static_cast<int64_t>(sequences[i].size());
    float* x = streams[i].data();
    if (stage == 0) {
      streams[i].Resize(rows * width);
      transformer.Embed(set, sequences[i], streams[i].data());
    } else if (stage < last) {
      const SequenceRows whole{rows, nullptr};
      transformer.RunStage(stage, set, {&whole, 1}, x, &scratch->workspace);
    } else {
      for (int64_t from = 0; from < rows; from += kLogitRows) {
        const int64_t some = std::min(kLogitRows, rows - from);
        scratch->logits.Resize(some * config.vocab_size);
        transformer.Logits(
            set, x + from * width, width, some, scratch->logits.data(), &scratch->workspace);
      }
    }
  };
  const auto body = [&](int stage, const WeightSet& set, int64_t part, ForwardScratch* scratch) {
    scratch->workspace.observe_input =
        [&](ComponentId id, const float* inputs, int64_t rows, int64_t columns) {
          double* sum = sums[part].at(id).data();
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < columns; ++j) {
              const double value = inputs[i * columns + j];
              sum[j] += value * value;
            }
          }
        };
    for (int64_t i = part * count / parts; i < (part + 1) * count / parts; ++i) {
      run(stage, set, i, scratch);
    }
    scratch->workspace.observe_input = nullptr;
  };
  progress->Begin("input moments", parts * (last + 1));
  StageRunner runner(threads);
  BB_RETURN_IF_ERROR(runner.Run(weights, 0, last + 1, parts, progress, /*report=*/true, body));
  progress->End();

  InputMoments moments;
  for (const auto& [id, zero] : zeros) {
    std::vector<float>& out = moments[id];
    for (size_t j = 0; j < zero.size(); ++j) {
      double sum = 0;
      for (const Sums& part : sums) sum += part.at(id)[j];
      out.push_back(static_cast<float>(sum / static_cast<double>(std::max<int64_t>(tokens, 1))));
    }
  }
  return moments;
}

}  // namespace bitbudget
