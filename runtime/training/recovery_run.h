#ifndef BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_
#define BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/training/adamw.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// Named bytes that a recovery keeps, to resume with.
using SavedState = std::map<std::string, std::string>;

// An encoded model as named bytes, and back: of the components and formats of `like`. kDataLoss
// unless all are there with their sizes.
void SaveEncoded(const ModelConfig& config,
                 const EncodedModel& encoded,
                 absl::string_view prefix,
                 SavedState* state);
absl::StatusOr<EncodedModel> LoadEncoded(const ModelConfig& config,
                                         const SavedState& state,
                                         absl::string_view prefix,
                                         const EncodedModel& like);

// An integer by name; kDataLoss if it is missing.
absl::StatusOr<int64_t> LoadInteger(const SavedState& state, const std::string& name);

// Gradient profiles as bytes, and back; kDataLoss for bytes that are not those of any.
std::string SaveProfiles(std::span<const GradientProfile> profiles);
absl::StatusOr<std::vector<GradientProfile>> LoadProfiles(const SavedState& state,
                                                          const std::string& name);

// What a method of recovery works with. Everything outlives it.
class RecoveryRun {
 public:
  RecoveryRun(const Model& model,
              const RecoveryData& data,
              const RecoveryOptions& options,
              RecoveryState* state,
              Progress* progress)
      : model_(model), data_(data), options_(options), state_(state), progress_(progress) {}

  const Model& model() const { return model_; }
  const RecoveryData& data() const { return data_; }
  const RecoveryOptions& options() const { return options_; }
  Progress* progress() const { return progress_; }

  // A method begins: its time runs from now on. `ended` is what later methods resume with,
  // `resumed` what this one saved before it was killed.
  void Begin(SavedState ended, SavedState resumed);
  // Whether a method must stop: interrupted, or out of time.
  bool MustStop() const;
  // Keeps what the running method has reached.
  absl::Status Save(SavedState state);
  // What it kept last, once; empty if there is nothing.
  SavedState Resume() { return std::exchange(resumed_, {}); }

 private:
  const Model& model_;
  const RecoveryData& data_;
  const RecoveryOptions& options_;
  RecoveryState* state_;
  Progress* progress_;
  std::chrono::steady_clock::time_point begin_;
  SavedState ended_;
  SavedState resumed_;
};

// What a method found; the model of a method that had to stop is the best so far.
struct MethodResult {
  EncodedModel model;
  int64_t steps = 0;
  bool complete = true;
  std::vector<GradientProfile> profiles = {};
  // The learning rate of training that diverged; the model is then that of the start.
  std::optional<double> diverged = {};
};

// Whether training has diverged: a loss or parameters that are not finite, or scales that f32
// cannot follow.
bool Diverges(double loss, std::span<ParameterArray* const> arrays);

// The learning rate of the weights of a format, in units of their root mean square: the fewer bits,
// the wider the cells that weights have to cross; of floats that of PrunedRate.
double WeightRate(const Format& format);

// The share of zeros in a sparse format, from 0 to 1.
double ZerosIn(const Format& format);

// That of pruned floats with this share of zeros: they have no cells, but the more is pruned, the
// more the rest has to make up for. Text KL of novel-1m with 60 % zeros in all layers (0.798) after
// 200 steps of distill, whose rates are twice these, at 0.001, 0.003, 0.01 and 0.03: 0.458, 0.309,
// 0.194, 0.144; at 0.1 worse again. With 75 % (2.18), 0.01 and 0.03: 0.681, 0.450. With 20 % and
// 35 %, steps at 0.03 gain nothing.
double PrunedRate(double zeros);

// That of logarithms of scales.
inline constexpr double kScaleRate = 2e-3;

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_
