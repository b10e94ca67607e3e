#include "runtime/model/decoder/token_pass.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

using Rows = std::vector<float>;

constexpr int64_t kVocab = 64;

// Passes on what another source has and notes the last stage that was asked for; fails for stages
// from `forbidden` on.
class WatchedWeights final : public WeightSource {
 public:
  explicit WatchedWeights(const Model& model) : weights_(model, 1) {}

  absl::StatusOr<WeightLease> Pin(int first, int end, int threads) override {
    if (end > forbidden) return absl::InternalError("a stage that nobody needs was asked for");
    largest_end = std::max(largest_end, end);
    return weights_.Pin(first, at_a_time > 0 ? std::min(end, first + at_a_time) : end, threads);
  }

  int forbidden = std::numeric_limits<int>::max();
  int at_a_time = 0;  // stages per lease; 0: all
  int largest_end = 0;

 private:
  ReferenceWeights weights_;
};

// What a pass shows, by what it is and by sequence, put together from the pieces it comes in.
struct Seen {
  std::map<std::pair<int, int64_t>, Rows> streams;  // by stage and sequence
  std::map<std::pair<ComponentId, int64_t>, Rows> inputs;
  std::map<int64_t, Rows> logits;

  friend bool operator==(const Seen&, const Seen&) = default;
};

class Recorder final : public PassObserver {
 public:
  Recorder(const PassNeeds& needs, int64_t sequences, int64_t first_logit = 0)
      : needs_(needs), first_logit_(first_logit), own_(sequences) {}

  PassNeeds Needs() const override { return needs_; }
  int64_t FirstLogit(int64_t) const override { return first_logit_; }

  void Stream(int stage, const ObservedRows& x) override {
    Append(x, 0, &own_[x.sequence].streams[{stage, x.sequence}]);
  }
  void Inputs(ComponentId id, const ObservedRows& x) override {
    Append(x, 0, &own_[x.sequence].inputs[{id, x.sequence}]);
  }
  void Logits(const ObservedRows& x) override {
    EXPECT_LE(x.rows, kLogitRows);
    Append(x, first_logit_, &own_[x.sequence].logits[x.sequence]);
  }

  Seen All() const {
    Seen all;
    for (const Seen& own : own_) {
      all.streams.insert(own.streams.begin(), own.streams.end());
      all.inputs.insert(own.inputs.begin(), own.inputs.end());
      all.logits.insert(own.logits.begin(), own.logits.end());
    }
    return all;
  }

 private:
  // Pieces come in order of positions.
  static void Append(const ObservedRows& x, int64_t first, Rows* to) {
    EXPECT_EQ(static_cast<int64_t>(to->size()), (x.first - first) * x.width);
    to->insert(to->end(), x.values, x.values + x.rows * x.width);
  }

  const PassNeeds needs_;
  const int64_t first_logit_;
  std::vector<Seen> own_;  // by sequence: calls for different ones may come at the same time
};

class TokenPassTest : public testing::Test {
 protected:
  TokenPassTest() {
    TinyModelOptions options;
    options.layers = 3;
    options.vocab = kVocab;
    options.dtype = kFormatBF16;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    transformer_ = std::make_unique<Transformer>(*model_, 128);
    weights_ = std::make_unique<WatchedWeights>(*model_);
    stages_ = NumStages(model_->config());
    // Several batches; one is a single long sequence, some rows are more than the head takes at a
    // time.
    for (const int64_t length : {17, 110, 1, 128, 120, 3, 9, 100, 5, 31, 2, 12}) {
      sequences_.push_back(RandomTokens(length, kVocab, 90 + static_cast<uint64_t>(length)));
    }
  }

  int64_t count() const { return static_cast<int64_t>(sequences_.size()); }

  // Every sequence by itself, from the transformer alone.
  Seen Plain() const {
    Seen seen;
    const ReferenceWeights weights(*model_, 1);
    const int64_t width = model_->config().hidden_size;
    for (int64_t s = 0; s < count(); ++s) {
      const int64_t rows = static_cast<int64_t>(sequences_[s].size());
      Rows x(rows * width);
      TransformerWorkspace workspace;
      workspace.observe_input = [&](ComponentId id, const float* inputs, int64_t n, int64_t w) {
        seen.inputs[{id, s}] = Rows(inputs, inputs + n * w);
      };
      transformer_->Embed(weights.set(), sequences_[s], x.data());
      seen.streams[{1, s}] = x;
      const SequenceRows whole{rows, nullptr};
      for (int stage = 1; stage + 1 < stages_; ++stage) {
        transformer_->RunStage(stage, weights.set(), {&whole, 1}, x.data(), &workspace);
        seen.streams[{stage + 1, s}] = x;
      }
      Rows& logits = seen.logits[s];
      logits.resize(rows * kVocab);
      transformer_->Logits(weights.set(), x.data(), width, rows, logits.data(), &workspace);
    }
    return seen;
  }

  Seen Observe(const PassNeeds& needs, int threads = 1, int64_t first_logit = 0) {
    TokenPass pass(*transformer_, sequences_, threads);
    Recorder recorder(needs, count(), first_logit);
    Progress progress;
    const absl::Status status = pass.Observe(weights_.get(), &recorder, "test", &progress);
    EXPECT_TRUE(status.ok()) << status;
    return recorder.All();
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<WatchedWeights> weights_;
  int stages_ = 0;
  std::vector<std::vector<int32_t>> sequences_;
};

TEST_F(TokenPassTest, ShowsWhatAPlainForwardPassComputes) {
  const Seen plain = Plain();
  EXPECT_EQ(Observe({.end_stage = stages_, .inputs = true, .logits = true}), plain);
}

TEST_F(TokenPassTest, DoesNotDependOnThreadsPartsOrLeases) {
  const Seen plain = Plain();
  for (const int threads : {1, 2, 5, 16}) {
    for (const int64_t parts : {0, 1, 3, 8, 40}) {
      weights_->at_a_time = static_cast<int>(parts) % 4;
      EXPECT_EQ(
          Observe({.end_stage = stages_, .inputs = true, .logits = true, .parts = parts}, threads),
          plain)
          << threads << " threads, " << parts << " parts";
    }
  }
}

// A stage further and the source fails.
TEST_F(TokenPassTest, RunsNoStageThatIsNotNeeded) {
  const Seen plain = Plain();
  for (int end = 1; end < stages_; ++end) {
    weights_->forbidden = end;
    const Seen seen = Observe({.end_stage = end, .inputs = true});
    EXPECT_EQ(weights_->largest_end, end);
    EXPECT_TRUE(seen.logits.empty());
    for (const auto& [key, rows] : plain.streams) {
      EXPECT_EQ(seen.streams.contains(key), key.first <= end);
      if (key.first > end) continue;
      EXPECT_EQ(seen.streams.at(key), rows);
    }
    for (const auto& [key, rows] : plain.inputs) {
      const bool ran = FirstAffectedStage(model_->component(key.first), model_->config()) < end;
      EXPECT_EQ(seen.inputs.contains(key), ran) << model_->component(key.first).name;
      if (!ran) continue;
      EXPECT_EQ(seen.inputs.at(key), rows);
    }
  }
}

TEST_F(TokenPassTest, SeesTheHeadsInputsWithoutTheHeadsWeights) {
  const Seen plain = Plain();
  weights_->forbidden = stages_ - 1;
  for (const int threads : {1, 4}) {
    const Seen seen = Observe({.end_stage = stages_, .inputs = true, .parts = 3}, threads);
    EXPECT_EQ(seen.inputs, plain.inputs);
    EXPECT_TRUE(seen.logits.empty());
  }
  EXPECT_EQ(weights_->largest_end, stages_ - 1);
}

TEST_F(TokenPassTest, ComputesNeitherInputsNorLogitsThatNobodyAskedFor) {
  const Seen seen = Observe({.end_stage = stages_});
  EXPECT_TRUE(seen.inputs.empty());
  EXPECT_TRUE(seen.logits.empty());
  EXPECT_LT(weights_->largest_end, stages_);
  // Logits from a position on; sequences that end ahead of it have none.
  const Seen plain = Plain();
  const Seen late = Observe({.end_stage = stages_, .logits = true}, 2, /*first_logit=*/10);
  for (int64_t s = 0; s < count(); ++s) {
    const Rows& all = plain.logits.at(s);
    ASSERT_EQ(late.logits.contains(s), all.size() > 10 * kVocab) << s;
    if (all.size() <= 10 * kVocab) continue;
    EXPECT_EQ(late.logits.at(s), Rows(all.begin() + 10 * kVocab, all.end()));
  }
}

// Sums that depend on their order, kept per part, are the same for any number of threads.
TEST_F(TokenPassTest, CallsWithinAPartComeOneAtATimeAndInOrder) {
  class Order final : public PassObserver {
   public:
    Order(int end_stage, int64_t parts) : end_stage_(end_stage), calls(parts), busy_(parts) {}
    PassNeeds Needs() const override {
      return {.end_stage = end_stage_, .parts = static_cast<int64_t>(calls.size())};
    }
    void Stream(int stage, const ObservedRows& x) override {
      EXPECT_FALSE(busy_[x.part].exchange(true));
      calls[x.part].push_back({stage, x.sequence});
      busy_[x.part] = false;
    }

   private:
    const int end_stage_;

   public:
    std::vector<std::vector<std::pair<int, int64_t>>> calls;

   private:
    std::vector<std::atomic<bool>> busy_;
  };
  TokenPass pass(*transformer_, sequences_, 4);
  Order order(stages_, 5);
  Progress progress;
  ASSERT_TRUE(pass.Observe(weights_.get(), &order, "test", &progress).ok());
  int64_t next = 0;
  for (const auto& calls : order.calls) {
    EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
    std::vector<int64_t> sequences;
    for (const auto& [stage, sequence] : calls) {
      if (stage == 1) sequences.push_back(sequence);
    }
    for (const int64_t sequence : sequences) EXPECT_EQ(sequence, next++);  // consecutive ones
    EXPECT_EQ(calls.size(), sequences.size() * static_cast<size_t>(stages_ - 1));
  }
  EXPECT_EQ(next, count());
}

TEST_F(TokenPassTest, AdvancesStreamsAndTakesSomeSequencesFromAnyStageOn) {
  const Seen plain = Plain();
  const int64_t width = model_->config().hidden_size;
  TokenPass pass(*transformer_, sequences_, 3);
  Progress progress;
  Rows x(pass.total_rows() * width, -1);
  ASSERT_TRUE(pass.Advance(weights_.get(), 0, 2, x.data(), &progress).ok());
  ASSERT_TRUE(pass.Advance(weights_.get(), 2, 5, x.data(), &progress).ok());
  const Rows five = x;
  for (int64_t s = 0; s < count(); ++s) {
    const auto from = x.begin() + pass.FirstRow(s) * width;
    EXPECT_EQ(Rows(from, from + pass.Length(s) * width), plain.streams.at({5, s})) << s;
  }
  // The sequences [2, 6) from there on; the others stay.
  Recorder recorder({.end_stage = stages_, .inputs = true, .logits = true}, count());
  ASSERT_TRUE(pass.Run(weights_.get(), {5, 2, 4}, &recorder, x.data(), &progress).ok());
  const Seen seen = recorder.All();
  for (int64_t s = 0; s < count(); ++s) {
    const bool ran = s >= 2 && s < 6;
    const auto begin = pass.FirstRow(s) * width;
    const auto end = pass.FirstRow(s + 1) * width;
    EXPECT_EQ(std::equal(x.begin() + begin, x.begin() + end, five.begin() + begin), !ran) << s;
    EXPECT_EQ(seen.streams.contains({6, s}), ran);
    EXPECT_FALSE(seen.streams.contains({5, s}));
    EXPECT_EQ(seen.logits.contains(s), ran);
    if (!ran) continue;
    EXPECT_EQ(seen.logits.at(s), plain.logits.at(s));
  }
}

TEST_F(TokenPassTest, StopsWhenItIsInterruptedAndPassesErrorsOn) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return --calls_left < 0; }
    mutable std::atomic<int> calls_left = 0;
  } stop;
  TokenPass pass(*transformer_, sequences_, 2);
  const PassNeeds head_inputs{.end_stage = stages_, .inputs = true};
  int last = 0;  // how many questions a whole pass asks
  for (;; ++last) {
    stop.calls_left = last;
    Recorder recorder(head_inputs, count());
    const absl::Status status = pass.Observe(weights_.get(), &recorder, "test", &stop);
    if (status.ok()) break;
    ASSERT_TRUE(absl::IsCancelled(status)) << status;
  }
  EXPECT_GT(last, stages_);
  weights_->forbidden = 4;
  Recorder recorder(head_inputs, count());
  EXPECT_EQ(pass.Observe(weights_.get(), &recorder, "test", &stop).code(),
            absl::StatusCode::kInternal);
}

TEST_F(TokenPassTest, ReportsEveryStepOfItsPhase) {
  class Count : public Progress {
   public:
    void Begin(absl::string_view phase, int64_t steps) override {
      EXPECT_EQ(phase, "test");
      total = steps;
    }
    void Update(int64_t done, absl::string_view) override { EXPECT_EQ(done, ++last); }
    void End() override { ended = true; }
    int64_t total = 0;
    int64_t last = 0;
    bool ended = false;
  };
  for (const bool logits : {false, true}) {
    Count count_steps;
    TokenPass pass(*transformer_, sequences_, 2);
    Recorder recorder({.end_stage = stages_, .logits = logits}, count());
    ASSERT_TRUE(pass.Observe(weights_.get(), &recorder, "test", &count_steps).ok());
    EXPECT_EQ(count_steps.last, count_steps.total);
    EXPECT_TRUE(count_steps.ended);
  }
}

}  // namespace
}  // namespace bitbudget
