#include "scoring/signal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "runtime/quantize/weight_encoder.h"
#include "scoring/gradient_norms.h"
#include "scoring/output_error.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};

Sequences SomeSequences() {
  Sequences sequences;
  for (const int64_t length : {17, 1, 40}) {
    sequences.push_back(RandomTokens(length, 64, 70 + static_cast<uint64_t>(length)));
  }
  return sequences;
}

struct Bench {
  explicit Bench(bool tied = false) {
    TinyModelOptions options;
    options.tied = tied;
    options.layers = 3;
    options.vocab = 64;
    options.dtype = kFormatBF16;
    const TinyModel tiny(options);
    auto loaded = Model::Load(tiny.path(), 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
    transformer = std::make_unique<Transformer>(*model, 64);
    encoder = MakeRtnEncoder();
    weight_encoder = std::make_unique<StatsWeightEncoder>(*model, *encoder);
    bank = std::make_unique<EncodingBank>(*model, *weight_encoder, BankOptions());
  }

  // A context for an assignment, which outlives it.
  ScoreContext Context(const Assignment& assignment) const {
    ScoreContext context;
    context.model = model.get();
    context.transformer = transformer.get();
    context.bank = bank.get();
    context.sequences = sequences;
    context.assignment = &assignment;
    context.progress = progress.get();
    return context;
  }

  absl::StatusOr<SignalReport> Propagate(const Assignment& assignment) const {
    return PropagateErrors(Context(assignment));
  }

  Assignment Everywhere(const Format& format) const {
    return Assignment(model->components().size(), format);
  }

  // The residual streams of all sequences ahead of `stage`, from a full pass.
  std::vector<std::vector<float>> StreamsAhead(const Assignment& assignment, int stage) const {
    const int64_t width = model->config().hidden_size;
    AssignmentWeights weights = bank->Weights(assignment);
    const auto lease = weights.Pin(0, NumStages(model->config()), 1);
    EXPECT_TRUE(lease.ok()) << lease.status();
    std::vector<std::vector<float>> streams;
    TransformerWorkspace workspace;
    for (const std::vector<int32_t>& sequence : SomeSequences()) {
      const SequenceRows whole{static_cast<int64_t>(sequence.size()), nullptr};
      std::vector<float>& x = streams.emplace_back(sequence.size() * width);
      transformer->Embed(lease->set(), sequence, x.data());
      for (int s = 1; s < stage; ++s) {
        transformer->RunStage(s, lease->set(), {&whole, 1}, x.data(), &workspace);
      }
    }
    return streams;
  }

  // ||x' - x|| / ||x|| of the streams ahead of a stage.
  double Error(const std::vector<ComponentFormat>& changes, int stage) const {
    const Assignment stored = bank->StoredAssignment();
    const auto changed = StreamsAhead(WithDelta(stored, changes), stage);
    const auto reference = StreamsAhead(stored, stage);
    double error = 0, norm = 0;
    for (size_t s = 0; s < reference.size(); ++s) {
      for (size_t i = 0; i < reference[s].size(); ++i) {
        const double x = reference[s][i];
        error += (changed[s][i] - x) * (changed[s][i] - x);
        norm += x * x;
      }
    }
    return std::sqrt(error / norm);
  }

  const Sequences sequences = SomeSequences();
  std::unique_ptr<Progress> progress = std::make_unique<Progress>();
  std::unique_ptr<Model> model;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<StatsWeightEncoder> weight_encoder;
  std::unique_ptr<EncodingBank> bank;
};

TEST(SignalTest, ErrorsAreThoseOfWholePassesWithOneComponentOrOneLayerChanged) {
  for (const bool tied : {false, true}) {
    const Bench bench(tied);
    const auto report = bench.Propagate(bench.Everywhere(kInt4));
    ASSERT_TRUE(report.ok()) << report.status();
    const int end = NumStages(bench.model->config()) - 1;
    std::vector<std::vector<ComponentFormat>> layers(3);
    for (size_t c = 0; c < report->components.size(); ++c) {
      const Component& component = bench.model->components()[c];
      const ComponentFormat change = {static_cast<ComponentId>(c), kInt4};
      const ComponentSignal& signal = report->components[c];
      if (component.kind == ComponentKind::kHead) {
        EXPECT_FALSE(signal.layer_error.has_value() || signal.stream_error.has_value());
        EXPECT_FALSE(signal.Growth().has_value());
        continue;
      }
      const int behind = component.layer < 0 ? 1 : 3 + 2 * component.layer;
      EXPECT_EQ(signal.layer_error, bench.Error({change}, behind)) << component.name;
      EXPECT_EQ(signal.stream_error, bench.Error({change}, end)) << component.name;
      EXPECT_EQ(signal.Growth(), *signal.stream_error / signal.output_error);
      if (component.layer >= 0) layers[component.layer].push_back(change);
    }
    ASSERT_EQ(report->layers.size(), 3u);
    for (int layer = 0; layer < 3; ++layer) {
      EXPECT_EQ(report->layers[layer], bench.Error(layers[layer], end));
    }
  }
}

TEST(SignalTest, OutputsAreComparedOnTheReferencesInputs) {
  const Bench bench;
  const auto report = bench.Propagate(bench.Everywhere(kInt4));
  ASSERT_TRUE(report.ok());
  Progress progress;
  AssignmentWeights reference = bench.bank->Reference();
  const auto sample = InputSample::Create(
      *bench.transformer, &reference, SomeSequences(), kSignalRows, 1, &progress);
  ASSERT_TRUE(sample.ok());
  for (size_t c = 0; c < report->components.size(); ++c) {
    const auto errors = OutputErrors(
        *sample, static_cast<ComponentId>(c), {&kInt4, 1}, bench.bank.get(), 1, &progress);
    ASSERT_TRUE(errors.ok());
    const ComponentSignal& signal = report->components[c];
    EXPECT_EQ(signal.output_error, std::sqrt((*errors)[0]));
    EXPECT_EQ(signal.sqnr_db, -10 * std::log10((*errors)[0]));
    // | ||Y'|| - ||Y|| | <= ||Y' - Y||, and rounding of the sums.
    EXPECT_LE(std::abs(signal.gain - 1), signal.output_error * (1 + 1e-9));
    EXPECT_GT(signal.output_error, 0);
  }
}

TEST(SignalTest, TheStoredFormatsHaveNoError) {
  const Bench bench;
  const auto report = bench.Propagate(bench.bank->StoredAssignment());
  ASSERT_TRUE(report.ok());
  for (const ComponentSignal& signal : report->components) {
    EXPECT_EQ(signal.sqnr_db, std::numeric_limits<double>::infinity());
    EXPECT_EQ(signal.output_error, 0);
    EXPECT_EQ(signal.gain, 1);
    EXPECT_EQ(signal.stream_error.value_or(0), 0);
    EXPECT_FALSE(signal.Growth().has_value());
  }
  EXPECT_EQ(report->layers, std::vector<double>(3, 0.0));
  const Assignment stored = bench.bank->StoredAssignment();
  const auto scores = ScoreSignal(bench.Context(stored));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ(scores->order, (std::vector<int>{0, 1, 2}));
}

TEST(SignalTest, FewerBitsAndEveryThreadCount) {
  const Bench bench;
  const auto coarse = bench.Propagate(bench.Everywhere(kInt4));
  const auto fine = bench.Propagate(bench.Everywhere({FormatKind::kInteger, 8, 32, false}));
  ASSERT_TRUE(coarse.ok() && fine.ok());
  for (size_t c = 0; c < coarse->components.size(); ++c) {
    EXPECT_LT(coarse->components[c].sqnr_db + 15, fine->components[c].sqnr_db);  // 24 dB of bits
  }
  const Assignment int4 = bench.Everywhere(kInt4);
  ScoreContext context = bench.Context(int4);
  context.threads = 4;
  const auto threaded = PropagateErrors(context);
  ASSERT_TRUE(threaded.ok());
  for (size_t c = 0; c < coarse->components.size(); ++c) {
    EXPECT_EQ(threaded->components[c].sqnr_db, coarse->components[c].sqnr_db);
    EXPECT_EQ(threaded->components[c].gain, coarse->components[c].gain);
    EXPECT_EQ(threaded->components[c].layer_error, coarse->components[c].layer_error);
    EXPECT_EQ(threaded->components[c].stream_error, coarse->components[c].stream_error);
  }
  context.detail = ScoreDetail::kLayers;
  const auto layers = PropagateErrors(context);
  ASSERT_TRUE(layers.ok());
  EXPECT_EQ(layers->layers, coarse->layers);
  EXPECT_TRUE(layers->components.empty());
}

TEST(SignalTest, ScoresAreTheReport) {
  const Bench bench;
  const Assignment int4 = bench.Everywhere(kInt4);
  ScoreContext context = bench.Context(int4);
  const auto report = PropagateErrors(context);
  const auto scores = ScoreSignal(context);
  ASSERT_TRUE(report.ok() && scores.ok());
  EXPECT_EQ(scores->scorer, "signal");
  EXPECT_EQ(scores->layers, report->layers);
  EXPECT_EQ(scores->order, OrderByImportance(report->layers, MostImportant::kLargest));
  ASSERT_EQ(scores->components.size(), report->components.size());
  ASSERT_EQ(scores->measures.size(), 7u);
  for (size_t c = 0; c < report->components.size(); ++c) {
    const ComponentSignal& signal = report->components[c];
    EXPECT_EQ(scores->components[c], signal.stream_error);
    EXPECT_EQ(scores->measures[0].values[c], signal.sqnr_db);
    EXPECT_EQ(scores->measures[1].values[c], signal.gain);
    EXPECT_EQ(scores->measures[2].values[c], signal.output_error);
    EXPECT_EQ(scores->measures[3].values[c], signal.layer_error);
    EXPECT_EQ(scores->measures[4].values[c], signal.stream_error);
    EXPECT_EQ(scores->measures[5].values[c], signal.Growth());
    EXPECT_EQ(scores->measures[6].values[c], signal.gradient_norm);
  }
  context.detail = ScoreDetail::kLayers;
  const auto layers = ScoreSignal(context);
  ASSERT_TRUE(layers.ok());
  EXPECT_EQ(layers->order, scores->order);
  EXPECT_TRUE(layers->components.empty() && layers->measures.empty());
}

TEST(SignalTest, GradientsAreThoseOfTheUnmodifiedModel) {
  const Bench bench;
  const Assignment int4 = bench.Everywhere(kInt4);
  const auto report = bench.Propagate(int4);
  const auto norms = GradientNorms(bench.Context(int4));
  ASSERT_TRUE(report.ok() && norms.ok());
  for (size_t c = 0; c < norms->size(); ++c) {
    EXPECT_EQ(report->components[c].gradient_norm, (*norms)[c]);
    EXPECT_GT((*norms)[c], 0);
  }
}

TEST(SignalTest, StopsWhenItIsInterrupted) {
  struct Stop : Progress {
    bool Interrupted() const override { return true; }
  } stop;
  const Bench bench;
  const Assignment int4 = bench.Everywhere(kInt4);
  ScoreContext context = bench.Context(int4);
  context.progress = &stop;
  EXPECT_TRUE(absl::IsCancelled(PropagateErrors(context).status()));
}

}  // namespace
}  // namespace bitbudget
