#ifndef BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_
#define BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// Named bytes that a recovery keeps, to resume with.
using SavedState = std::map<std::string, std::string>;

// Encodings as named bytes, and back: of the components and formats of `like`. kDataLoss unless all
// are there with their sizes.
void SaveEncodings(const ComponentEncodings& encodings,
                   absl::string_view prefix,
                   SavedState* state);
absl::StatusOr<ComponentEncodings> LoadEncodings(const SavedState& state,
                                                 absl::string_view prefix,
                                                 const ComponentEncodings& like);

// An integer by name; kDataLoss if it is missing.
absl::StatusOr<int64_t> LoadInteger(const SavedState& state, const std::string& name);

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

// What a method found; the encodings of a method that had to stop are the best so far.
struct MethodResult {
  ComponentEncodings encodings;
  int64_t steps = 0;
  bool complete = true;
};

// kInvalidArgument for a loss that is not finite.
absl::Status CheckLoss(double loss, double learning_rate);

// The learning rate of the weights of a format, in units of their root mean square: the fewer bits,
// the wider the cells that weights have to cross. Pruned floats have no cells, but much to make up
// for: text KL of novel-1m with 60 and 75 % zeros in all layers after 200 steps of distill at 1,
// 10 and 30 thousandths: 0.458, 0.194, 0.144 (0.798 before), and -, 0.681, 0.450 (2.18 before).
double WeightRate(const Format& format);

// That of logarithms of scales.
inline constexpr double kScaleRate = 2e-3;

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_RECOVERY_RUN_H_
