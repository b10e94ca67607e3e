#include "scoring/output_error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/naive_transformer.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

constexpr double kUnit = 0x1p-24;  // of float
constexpr int64_t kVocab = 64;

using Sequences = std::vector<std::vector<int32_t>>;

// Different lengths; one is longer than what the head takes at a time (kLogitRows).
Sequences SomeSequences() {
  Sequences sequences;
  for (const int64_t length : {17, 110, 1, 40}) {
    sequences.push_back(RandomTokens(length, kVocab, 70 + static_cast<uint64_t>(length)));
  }
  return sequences;
}
constexpr int64_t kPositions = 17 + 110 + 1 + 40;

struct Bench {
  explicit Bench(bool tied, Activations activations = Activations::kInt16, double scale = 1) {
    TinyModelOptions options;
    options.tied = tied;
    options.vocab = kVocab;
    options.dtype = kFormatBF16;
    options.weight_scale = scale;
    const TinyModel tiny(options);
    auto loaded = Model::Load(tiny.path(), 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
    transformer = std::make_unique<Transformer>(*model, 128);
    encoder = MakeRtnEncoder();
    BankOptions bank_options;
    bank_options.activations = activations;
    weight_encoder = std::make_unique<StatsWeightEncoder>(*model, *encoder);
    bank = std::make_unique<EncodingBank>(*model, *weight_encoder, bank_options);
  }

  absl::StatusOr<InputSample> Sample(int64_t max_rows,
                                     int threads = 1,
                                     Progress* watched = nullptr) const {
    Progress silent;
    AssignmentWeights weights = bank->Reference();
    return InputSample::Create(*transformer,
                               &weights,
                               SomeSequences(),
                               max_rows,
                               threads,
                               watched != nullptr ? watched : &silent);
  }

  // The changes of a component that follow each other are asked for together.
  std::vector<double> Errors(const InputSample& sample,
                             std::span<const ComponentFormat> changes,
                             int threads = 1) const {
    Progress progress;
    std::vector<double> errors;
    for (size_t i = 0; i < changes.size();) {
      const ComponentId component = changes[i].component;
      std::vector<Format> formats;
      for (; i < changes.size() && changes[i].component == component; ++i) {
        formats.push_back(changes[i].format);
      }
      const auto some = OutputErrors(sample, component, formats, bank.get(), threads, &progress);
      EXPECT_TRUE(some.ok()) << some.status();
      EXPECT_EQ(some->size(), formats.size());
      errors.insert(errors.end(), some->begin(), some->end());
    }
    return errors;
  }

  // Every component in each of the formats.
  std::vector<ComponentFormat> Changes(std::initializer_list<const char*> formats) const {
    std::vector<ComponentFormat> changes;
    for (size_t c = 0; c < model->components().size(); ++c) {
      for (const char* format : formats) {
        changes.push_back({static_cast<ComponentId>(c), *ParseFormat(format)});
      }
    }
    return changes;
  }

  std::unique_ptr<Model> model;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<StatsWeightEncoder> weight_encoder;
  std::unique_ptr<EncodingBank> bank;
};

bool IsMultiplied(const Model& model, ComponentId id) {
  return model.component(id).kind != ComponentKind::kEmbedding || model.head() == id;
}

// Largest difference of row `row` of the one from row `position` of the other.
double RowDifference(std::span<const float> rows,
                     int64_t row,
                     const std::vector<double>& exact,
                     int64_t position,
                     int64_t cols) {
  double largest = 0;
  for (int64_t i = 0; i < cols; ++i) {
    largest = std::max(largest, std::abs(rows[row * cols + i] - exact[position * cols + i]));
  }
  return largest;
}

TEST(InputSample, HoldsEvenlySpreadInputsOfEveryProduct) {
  for (const bool tied : {false, true}) {
    const Bench bench(tied);
    const Model& model = *bench.model;
    const NaiveTransformer naive(model);
    std::vector<std::vector<double>> exact(model.components().size());
    double moved = 0;  // by rounding to float on the way
    for (const std::vector<int32_t>& sequence : SomeSequences()) {
      const NaivePass pass = naive.Run(sequence);
      const NaivePass rounded = naive.Run(sequence, NaiveArithmetic::kFloat);
      for (size_t c = 0; c < exact.size(); ++c) {
        exact[c].insert(exact[c].end(), pass.inputs[c].begin(), pass.inputs[c].end());
        moved = std::max(moved, MaxDifference(pass.inputs[c], rounded.inputs[c]));
      }
    }
    const double bound = 4 * moved;  // as in transformer_test
    ASSERT_LT(bound, 1e-3);
    for (const int64_t max_rows : {int64_t{1}, int64_t{50}, kPositions, int64_t{1} << 40}) {
      const auto sample = bench.Sample(max_rows);
      ASSERT_TRUE(sample.ok()) << sample.status();
      const int64_t kept = std::min(max_rows, kPositions);
      ASSERT_EQ(sample->rows(), kept);
      // The inputs of the head tell the positions apart, counted over the sequences.
      const ComponentId head = model.head();
      std::vector<int64_t> positions;
      for (int64_t row = 0; row < kept; ++row) {
        for (int64_t position = 0; position < kPositions; ++position) {
          const double difference = RowDifference(
              sample->Inputs(head), row, exact[head], position, model.component(head).cols);
          if (difference <= bound) positions.push_back(position);
        }
      }
      ASSERT_EQ(static_cast<int64_t>(positions.size()), kept);
      for (size_t c = 0; c < exact.size(); ++c) {
        const ComponentId id = static_cast<ComponentId>(c);
        if (!IsMultiplied(model, id)) {
          EXPECT_TRUE(exact[c].empty());
          continue;
        }
        const int64_t cols = model.component(id).cols;
        const std::span<const float> rows = sample->Inputs(id);
        ASSERT_EQ(static_cast<int64_t>(rows.size()), kept * cols);
        for (int64_t row = 0; row < kept; ++row) {
          EXPECT_LE(RowDifference(rows, row, exact[c], positions[row], cols), bound)
              << model.component(id).name << " row " << row;
        }
      }
      int64_t before = -1;
      for (const int64_t position : positions) {
        EXPECT_GE(position - before, kPositions / kept);
        EXPECT_LE(position - before, (kPositions + kept - 1) / kept);
        before = position;
      }
      EXPECT_LT(kPositions - 1 - before, (kPositions + kept - 1) / kept);
    }
  }
}

TEST(InputSample, CountsTheTokens) {
  const auto sample = Bench(false).Sample(3);
  ASSERT_TRUE(sample.ok()) << sample.status();
  std::vector<int64_t> counts(kVocab);
  for (const auto& sequence : SomeSequences()) {
    for (const int32_t token : sequence) ++counts[token];
  }
  EXPECT_EQ(sample->token_counts(), counts);
}

struct Range {
  double low = 0;
  double high = 0;
};

// ||X (W' - W)^T||^2 / ||X W^T||^2 in double, widened by what the runtime's arithmetic may do to
// each output: a chain of k + 8 float roundings (products and sums; scales of weights and rows)
// relative to sum |x| |w|, and for int16 activations up to half a step of the row, absmax / 32767,
// plus what rounding the quotient in float moves the code (32767 * 2^-23 < 0.01), per weight. The
// norms of these bounds bound the norms' change (triangle inequality).
Range ProductError(std::span<const float> x,
                   const std::vector<float>& weights,
                   const std::vector<float>& changed,
                   int64_t rows,
                   int64_t cols,
                   bool int16) {
  const double chain = static_cast<double>(cols + 8) * kUnit;
  const double gamma = chain / (1 - chain);
  double error = 0, signal = 0, error_bound = 0, signal_bound = 0;
  for (size_t r = 0; r < x.size() / static_cast<size_t>(cols); ++r) {
    const float* row = x.data() + r * cols;
    double absmax = 0;
    for (int64_t i = 0; i < cols; ++i) absmax = std::max(absmax, std::abs(double{row[i]}));
    const double step = int16 ? 0.51 * absmax / 32767 : 0;
    for (int64_t n = 0; n < rows; ++n) {
      double y = 0, changed_y = 0, size = 0, changed_size = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const double w = weights[n * cols + i], v = changed[n * cols + i];
        y += row[i] * w;
        changed_y += row[i] * v;
        size += std::abs(row[i] * w);
        changed_size += gamma * (std::abs(row[i]) + step) * std::abs(v) + step * std::abs(v);
      }
      error += (changed_y - y) * (changed_y - y);
      signal += y * y;
      signal_bound += gamma * size * gamma * size;
      error_bound += (changed_size + gamma * size) * (changed_size + gamma * size);
    }
  }
  error = std::sqrt(error), signal = std::sqrt(signal);
  error_bound = std::sqrt(error_bound), signal_bound = std::sqrt(signal_bound);
  const double low = std::max(error - error_bound, 0.0) / (signal + signal_bound);
  const double high = (error + error_bound) / (signal - signal_bound);
  return {low * low, high * high};
}

// The mean over the tokens of a lookup; all of it is double, also in the runtime.
double LookupError(const std::vector<int64_t>& counts,
                   const std::vector<float>& weights,
                   const std::vector<float>& changed,
                   int64_t cols) {
  double error = 0, signal = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double count = static_cast<double>(counts[i / static_cast<size_t>(cols)]);
    const double difference = double{changed[i]} - weights[i];
    error += count * difference * difference;
    signal += count * weights[i] * weights[i];
  }
  return error / signal;
}

TEST(OutputErrors, AreWhatTheDefinitionSays) {
  for (const bool tied : {false, true}) {
    for (const Activations activations : {Activations::kInt16, Activations::kF32}) {
      const Bench bench(tied, activations);
      const auto sample = bench.Sample(20);
      ASSERT_TRUE(sample.ok()) << sample.status();
      const std::vector<ComponentFormat> changes =
          bench.Changes({"int4-g32", "int8", "int4z-g32", "f16"});
      const std::vector<double> errors = bench.Errors(*sample, changes);
      ASSERT_EQ(errors.size(), changes.size());
      for (size_t i = 0; i < changes.size(); ++i) {
        const ComponentId id = changes[i].component;
        const Component& component = bench.model->component(id);
        SCOPED_TRACE(component.name + " " + changes[i].format.Name());
        std::vector<float> weights(component.rows * component.cols), changed(weights.size());
        for (int64_t row = 0; row < component.rows; ++row) {
          bench.model->Weight(id).ReadRow(
              row, std::span(weights).subspan(row * component.cols, component.cols));
        }
        DecodeReference(*bench.encoder->Encode(bench.model->Weight(id), changes[i].format),
                        changed);
        Range expected;
        if (IsMultiplied(*bench.model, id)) {
          const bool integer = changes[i].format.kind == FormatKind::kInteger;
          expected = ProductError(sample->Inputs(id),
                                  weights,
                                  changed,
                                  component.rows,
                                  component.cols,
                                  integer && activations == Activations::kInt16);
        }
        if (component.kind == ComponentKind::kEmbedding) {
          const double lookup =
              LookupError(sample->token_counts(), weights, changed, component.cols);
          expected.low += lookup;
          expected.high += lookup;
        }
        // 1e-12: sums of some thousand squares in double.
        EXPECT_GE(errors[i], expected.low * (1 - 1e-12));
        EXPECT_LE(errors[i], expected.high * (1 + 1e-12));
        // The bounds say something where the formats do.
        if (changes[i].format.bits == 4) {
          EXPECT_LT(expected.high, 1.05 * expected.low);
          EXPECT_GT(expected.low, 1e-4);
        }
        if (changes[i].format.bits == 8) {
          EXPECT_LT(expected.high, 2 * expected.low);
        }
      }
    }
  }
}

TEST(OutputErrors, AreZeroForTheStoredFormat) {
  for (const bool tied : {false, true}) {
    const Bench bench(tied);
    const auto sample = bench.Sample(20);
    ASSERT_TRUE(sample.ok()) << sample.status();
    for (const double error : bench.Errors(*sample, bench.Changes({"bf16"}))) EXPECT_EQ(error, 0);
    EXPECT_TRUE(bench.Errors(*sample, {}).empty());
    EXPECT_EQ(bench.bank->counts().encoded, 0);
  }
}

TEST(OutputErrors, DependOnNeitherThreadsNorOrder) {
  const Bench bench(true);
  const auto sample = bench.Sample(60);
  ASSERT_TRUE(sample.ok()) << sample.status();
  std::vector<ComponentFormat> changes = bench.Changes({"int4-g32", "bf16", "int8", "int8z-g64"});
  const std::vector<double> errors = bench.Errors(*sample, changes);
  for (const int threads : {2, 3, 8}) {
    const auto same = bench.Sample(60, threads);
    ASSERT_TRUE(same.ok()) << same.status();
    for (size_t c = 0; c < bench.model->components().size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      EXPECT_TRUE(std::ranges::equal(same->Inputs(id), sample->Inputs(id)));
    }
    EXPECT_EQ(Bench(true).Errors(*same, changes, threads), errors);
  }
  // The changes of a component apart from each other.
  std::vector<size_t> order(changes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i * 13 % order.size();
  std::vector<ComponentFormat> shuffled;
  for (const size_t i : order) shuffled.push_back(changes[i]);
  const std::vector<double> shuffled_errors = bench.Errors(*sample, shuffled, 2);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(shuffled_errors[i], errors[order[i]]);
}

TEST(OutputErrors, AreNotFiniteWhereOutputsAreNot) {
  const Bench bench(false, Activations::kF32, 1e25);  // squares of outputs overflow float
  const auto sample = bench.Sample(5);
  ASSERT_TRUE(sample.ok()) << sample.status();
  int broken = 0;
  for (const double error : bench.Errors(*sample, bench.Changes({"bf16", "f32"}))) {
    broken += !std::isfinite(error);
  }
  EXPECT_GT(broken, 0);
}

TEST(OutputErrors, CanBeInterrupted) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return --calls_left < 0; }
    mutable std::atomic<int> calls_left = 0;
  } stop;
  const Bench bench(false);
  const auto sample = bench.Sample(20);
  ASSERT_TRUE(sample.ok()) << sample.status();
  for (const int calls : {0, 3}) {
    stop.calls_left = calls;
    EXPECT_EQ(bench.Sample(20, 2, &stop).status().code(), absl::StatusCode::kCancelled);
  }
  stop.calls_left = 0;
  const std::vector<Format> formats = {*ParseFormat("int4-g32"), *ParseFormat("int8")};
  EXPECT_EQ(OutputErrors(*sample, 1, formats, bench.bank.get(), 1, &stop).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace bitbudget
