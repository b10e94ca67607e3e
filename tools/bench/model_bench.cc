// The prefill and decode benchmarks.

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "tools/bench/bench.h"
#include "tools/bench/generated_model.h"
#include "tools/bench/interleave.h"
#include "tools/bench/read_memory.h"
#include "tools/bench/runnable_model.h"

namespace bitbudget {
namespace {

// Rows at which `linear` is the measure of prefill.
constexpr int64_t kLinearRows = 240;
// Positions ahead of the one that decode runs.
constexpr int64_t kDecodeContext = 128;

std::vector<BenchCase> ModelCases(const BenchOptions& options) {
  if (!options.cases.empty()) return options.cases;
  std::vector<BenchCase> cases;
  for (const Activations activations : {Activations::kInt16, Activations::kInt8}) {
    for (const char* format : {"int8-g128", "int4-g32", "int4-g128"}) {
      cases.push_back({format, activations});
    }
  }
  return cases;
}

std::vector<int> ThreadCounts(const BenchOptions& options) {
  if (!options.threads.empty()) return options.threads;
  std::vector<int> counts = {1};
  for (int count = 2; count <= DefaultThreads(); count *= 2) counts.push_back(count);
  return counts;
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const BenchOptions& options) {
  if (!options.model.empty()) return Model::Load(options.model, DefaultThreads());
  const char* directory = std::getenv("TMPDIR");
  return GenerateModel(directory != nullptr ? directory : "/tmp", options.layers, DefaultThreads());
}

InterleaveOptions Rounds(const BenchOptions& options, int threads) {
  return {
      .repetitions = options.repetitions, .threads = threads, .min_seconds = options.min_seconds};
}

// Multiply-adds of a matrix for one row.
double Macs(const WeightPanels& panels) { return static_cast<double>(panels.n * panels.k); }

Timing Sum(std::span<const Timing> timings) {
  Timing sum(timings.front().size());
  for (const Timing& timing : timings) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += timing[i];
  }
  return sum;
}

BenchResult MakeResult(const char* bench, const RunnableModel& model, const BenchCase& what) {
  BenchResult result;
  result.bench = bench;
  result.path = PathName(model.panels(model.matrices().front()));
  result.format = what.format;
  return result;
}

absl::Status Prefill(const BenchOptions& options,
                     const Model& model,
                     const BenchCase& what,
                     RunnableModel* runnable,
                     const BenchSink& sink) {
  const std::vector<int32_t> prompt = RandomPrompt(model, options.tokens);
  BB_RETURN_IF_ERROR(runnable->Check(prompt));
  std::vector<float> logits(static_cast<size_t>(model.config().vocab_size));
  // `linear` on the matrices of one layer.
  std::vector<ComponentId> layer;
  double layer_macs = 0;
  double macs = 0;
  for (const ComponentId id : runnable->matrices()) {
    const bool head = id == model.head();
    macs += Macs(runnable->panels(id)) * static_cast<double>(head ? 1 : options.tokens);
    if (model.component(id).layer != 0) continue;
    layer.push_back(id);
    layer_macs += Macs(runnable->panels(id)) * kLinearRows;
  }
  const int64_t widest = std::max(model.config().intermediate_size, model.config().q_size());
  const std::vector<float> x = RandomValues(kLinearRows * widest, /*seed=*/2);
  AlignedBuffer<float> y(kLinearRows * widest);
  PackedActivations packed;

  for (const int threads : ThreadCounts(options)) {
    std::vector<std::function<void()>> contestants = {
        [&] { runnable->Run(prompt, 0, threads, logits.data()); }};
    for (const ComponentId id : layer) {
      contestants.push_back([&, id] {
        const WeightPanels& w = runnable->panels(id);
        PackActivations(w.packing(), x.data(), w.k, kLinearRows, w.k, &packed);
        Linear(packed, w, y.data(), w.n, threads);
      });
    }
    if (threads > 1) {
      contestants.push_back([&] { runnable->Run(prompt, 0, /*threads=*/1, logits.data()); });
    }
    const std::vector<Timing> timings = Interleave(contestants, Rounds(options, threads));
    const Timing linear = Sum(std::span(timings).subspan(1, layer.size()));

    BenchResult result = MakeResult("prefill", *runnable, what);
    result.m = options.tokens;
    result.threads = threads;
    result.gmac_per_s = macs / Median(timings[0]) / 1e9;
    result.tokens_per_s = static_cast<double>(options.tokens) / Median(timings[0]);
    result.spread = RelativeSpread(timings[0]);
    result.baseline = absl::StrCat("linear, m=", kLinearRows);
    result.ratio = SpeedRatio(timings[0], linear) * macs / layer_macs;
    result.target = 0.8;
    sink(result);
    if (threads == 1) continue;
    result.baseline = "one thread";
    result.ratio = SpeedRatio(timings[0], timings.back());
    result.target = threads == 4 ? std::optional<double>(3.4) : std::nullopt;
    sink(result);
  }
  return absl::OkStatus();
}

template <typename T>
void AddBlock(const AlignedBuffer<T>& buffer, std::vector<std::span<const std::byte>>* layers) {
  if (buffer.size() > 0) layers->push_back(std::as_bytes(buffer.span()));
}

absl::Status Decode(const BenchOptions& options,
                    const Model& model,
                    const BenchCase& what,
                    RunnableModel* runnable,
                    const BenchSink& sink) {
  const std::vector<int32_t> prompt = RandomPrompt(model, kDecodeContext + 1);
  BB_RETURN_IF_ERROR(runnable->Check(prompt));  // leaves the keys and values of the prompt
  std::vector<float> logits(static_cast<size_t>(model.config().vocab_size));
  std::vector<std::span<const std::byte>> layers;
  double bytes = 0;
  double macs = 0;
  int64_t widest = 0;
  for (const ComponentId id : runnable->matrices()) {
    const WeightPanels& w = runnable->panels(id);
    AddBlock(w.f32, &layers);
    AddBlock(w.codes, &layers);
    AddBlock(w.scales, &layers);
    AddBlock(w.zeros, &layers);
    bytes += static_cast<double>(w.bytes());
    macs += Macs(w);
    widest = std::max({widest, w.n, w.k});
  }
  const std::vector<float> x = RandomValues(widest, /*seed=*/2);
  std::vector<float> y(static_cast<size_t>(widest));
  PackedActivations packed;
  volatile uint64_t sum = 0;  // so that the read is not optimised away

  for (const int threads : ThreadCounts(options)) {
    const std::vector<std::function<void()>> contestants = {
        [&] { runnable->Run(std::span(prompt).last(1), kDecodeContext, threads, logits.data()); },
        [&] {
          for (const ComponentId id : runnable->matrices()) {
            const WeightPanels& w = runnable->panels(id);
            PackActivations(w.packing(), x.data(), w.k, 1, w.k, &packed);
            Linear(packed, w, y.data(), w.n, threads);
          }
        },
        [&] { sum = ReadMemory(layers, threads); }};
    const std::vector<Timing> timings = Interleave(contestants, Rounds(options, threads));

    BenchResult result = MakeResult("decode", *runnable, what);
    result.m = 1;
    result.threads = threads;
    result.baseline = "read";
    const auto report = [&](const Timing& timing) {
      result.gb_per_s = bytes / Median(timing) / 1e9;
      result.spread = RelativeSpread(timing);
      result.ratio = SpeedRatio(timing, timings[2]);
      sink(result);
    };
    result.gmac_per_s = macs / Median(timings[0]) / 1e9;
    result.tokens_per_s = 1 / Median(timings[0]);
    result.target = 0.85;
    report(timings[0]);
    result.gmac_per_s = macs / Median(timings[1]) / 1e9;
    result.tokens_per_s.reset();
    result.target.reset();
    absl::StrAppend(&result.path, " matrices");
    report(timings[1]);
    result.path = "read";
    result.gmac_per_s.reset();
    report(timings[2]);
  }
  return absl::OkStatus();
}

using ModelBench = absl::Status (*)(
    const BenchOptions&, const Model&, const BenchCase&, RunnableModel*, const BenchSink&);

absl::Status RunWith(ModelBench bench,
                     const BenchOptions& options,
                     int64_t positions,
                     const BenchSink& sink) {
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, LoadModel(options));
  BB_RETURN_IF_ERROR(CheckContext(model->config(), model->config_path(), positions));
  const Transformer transformer(*model, positions);
  for (const BenchCase& what : ModelCases(options)) {
    BB_ASSIGN_OR_RETURN(const std::unique_ptr<RunnableModel> runnable,
                        RunnableModel::Create(*model, transformer, what, DefaultThreads()));
    BB_RETURN_IF_ERROR(bench(options, *model, what, runnable.get(), sink));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPrefillBench(const BenchOptions& options, const BenchSink& sink) {
  return RunWith(Prefill, options, options.tokens, sink);
}

absl::Status RunDecodeBench(const BenchOptions& options, const BenchSink& sink) {
  return RunWith(Decode, options, kDecodeContext + 1, sink);
}

}  // namespace bitbudget
