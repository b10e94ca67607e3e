#ifndef BITBUDGET_TESTS_TRAINING_RECOVERY_FIXTURE_H_
#define BITBUDGET_TESTS_TRAINING_RECOVERY_FIXTURE_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/quantize/encoders.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/recovery.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

// What is saved, in memory; can fail after so many saves, as if the process had been killed.
class MemoryState final : public RecoveryState {
 public:
  absl::Status Save(const std::map<std::string, std::string>& state) override {
    if (saves_left == 0) return absl::AbortedError("killed");
    --saves_left;
    kept = state;
    return absl::OkStatus();
  }
  absl::StatusOr<std::map<std::string, std::string>> Load() override { return kept; }

  std::map<std::string, std::string> kept;
  int saves_left = 1000;
};

// Recoveries of a model of two layers in a fraction of a second.
class RecoveryTest : public testing::Test {
 protected:
  RecoveryTest() {
    TinyModelOptions options;
    options.hidden = 32;
    options.tied = true;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    for (int s = 0; s < 12; ++s) {
      (s < 8 ? data_.training : data_.kept_aside)
          .push_back(RandomTokens(24, model_->config().vocab_size, 100 + s));
    }
    options_.steps = 12;
  }

  ComponentEncodings Start(const char* format) const {
    const auto encoder = *MakeEncoder("rtn");
    const StatsWeightEncoder weights(*model_, *encoder);
    ComponentEncodings start;
    for (size_t c = 0; c < model_->components().size(); ++c) {
      const auto id = static_cast<ComponentId>(c);
      if (model_->component(id).layer < 0) continue;
      start[id] = *weights.Encode(id, *ParseFormat(format), 1);
    }
    return start;
  }

  absl::StatusOr<Recovered> Run(const ComponentEncodings& start,
                                const std::vector<std::string>& methods,
                                RecoveryState* state = nullptr,
                                Progress* progress = nullptr) const {
    Progress silent;
    return Recover(*model_,
                   {start},
                   data_,
                   methods,
                   options_,
                   state,
                   progress == nullptr ? &silent : progress);
  }

  double Divergence(const ComponentEncodings& encodings) const {
    return Divergence(EncodedModel{encodings});
  }
  double Divergence(const EncodedModel& encoded) const {
    Progress progress;
    const auto original = *OriginalOutputs::Create(*model_, data_.kept_aside, 1, &progress);
    return *MeanDivergence(*model_, encoded, data_.kept_aside, *original, 0, 1, &progress);
  }

  std::unique_ptr<Model> model_;
  RecoveryData data_;
  RecoveryOptions options_;
};

inline bool SameBytes(const ComponentEncodings& a, const ComponentEncodings& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [component, encoding] : a) {
    const auto found = b.find(component);
    if (found == b.end() || found->second.bytes != encoding.bytes) return false;
  }
  return true;
}

inline bool SameBytes(const EncodedModel& a, const EncodedModel& b) {
  return SameBytes(a.encodings, b.encodings) && a.vectors == b.vectors;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_TRAINING_RECOVERY_FIXTURE_H_
