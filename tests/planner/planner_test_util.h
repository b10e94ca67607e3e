#ifndef BITBUDGET_TESTS_PLANNER_PLANNER_TEST_UTIL_H_
#define BITBUDGET_TESTS_PLANNER_PLANNER_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "planner/jobs/plan_job.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

// 64 and 96 inputs: wide enough for groups of 32 and 64 to differ from whole rows in some
// components and not in others.
inline TinyModelOptions SmallModelOptions(uint64_t seed = 1) {
  TinyModelOptions options;
  options.hidden = 64;
  options.ffn = 96;
  options.dtype = kFormatBF16;
  options.seed = seed;
  return options;
}

struct LoadedModel {
  explicit LoadedModel(const TinyModelOptions& options = SmallModelOptions()) : files(options) {
    Load();
  }
  const Model& operator*() const { return *model; }

  void Load() {
    absl::StatusOr<std::unique_ptr<Model>> loaded = Model::Load(files.path(), 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
  }

  TinyModel files;
  std::unique_ptr<Model> model;
};

// The same with a tokenizer, and a text file to take probes from.
struct ModelWithText : LoadedModel {
  ModelWithText() : LoadedModel(Options()), text(files.path() + "/text.txt") {
    std::filesystem::copy_file(BITBUDGET_SOURCE_DIR "/tools/demo/models/novel-1m/tokenizer.model",
                               files.path() + "/tokenizer.model");
    std::string words;
    for (int i = 0; i < 300; ++i) absl::StrAppend(&words, "chapter ", i * 7919 % 1000, " of it ");
    WriteTestFile(text, words);
    Load();
  }
  static TinyModelOptions Options() {
    TinyModelOptions options = SmallModelOptions();
    options.vocab = 1024;
    return options;
  }

  std::string text;
};

// A job of a fraction of a second.
inline PlanOptions SmallJob(const std::string& search, const std::string& budget = "6bpw") {
  PlanOptions options;
  options.limit = *ParseBudget(budget);
  options.search = search;
  options.workspace.probes.prefix_tokens = 6;
  options.workspace.probes.completion_tokens = 10;
  options.search_probes = 4;
  options.held_out_probes = 5;
  return options;
}

// Counts calls and reports an interruption from one of them on.
class CountingProgress : public Progress {
 public:
  // Interrupts once `updates` calls of Update, or `questions` of Interrupted, were made.
  explicit CountingProgress(int64_t updates = INT64_MAX, int64_t questions = INT64_MAX)
      : stop_updates_(updates), stop_questions_(questions) {}

  void Begin(absl::string_view, int64_t) override { ++begins_; }
  void Update(int64_t, absl::string_view) override { ++updates_; }
  bool Interrupted() const override {
    return questions_++ >= stop_questions_ || updates_ >= stop_updates_;
  }

  int64_t begins() const { return begins_; }
  int64_t updates() const { return updates_; }
  int64_t questions() const { return questions_; }

 private:
  const int64_t stop_updates_, stop_questions_;
  int64_t begins_ = 0;
  std::atomic<int64_t> updates_ = 0;
  mutable std::atomic<int64_t> questions_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_PLANNER_PLANNER_TEST_UTIL_H_
