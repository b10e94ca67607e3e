#include "runtime/training/recovery_run.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the saved state of the recovery has no ", what));
}

}  // namespace

void SaveEncodings(const ComponentEncodings& encodings,
                   absl::string_view prefix,
                   SavedState* state) {
  for (const auto& [component, encoding] : encodings) {
    (*state)[absl::StrCat(prefix, component)] =
        std::string(encoding.bytes.begin(), encoding.bytes.end());
  }
}

absl::StatusOr<ComponentEncodings> LoadEncodings(const SavedState& state,
                                                 absl::string_view prefix,
                                                 const ComponentEncodings& like) {
  ComponentEncodings encodings = like;
  for (auto& [component, encoding] : encodings) {
    const std::string name = absl::StrCat(prefix, component);
    const auto found = state.find(name);
    if (found == state.end() || found->second.size() != encoding.bytes.size()) {
      return Damaged(name);
    }
    encoding.bytes.assign(found->second.begin(), found->second.end());
  }
  return encodings;
}

absl::StatusOr<int64_t> LoadInteger(const SavedState& state, const std::string& name) {
  const auto found = state.find(name);
  int64_t value = 0;
  if (found == state.end() || !absl::SimpleAtoi(found->second, &value)) return Damaged(name);
  return value;
}

void RecoveryRun::Begin(SavedState ended, SavedState resumed) {
  begin_ = std::chrono::steady_clock::now();
  ended_ = std::move(ended);
  resumed_ = std::move(resumed);
}

bool RecoveryRun::MustStop() const {
  if (progress_->Interrupted()) return true;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
  return options_.minutes > 0 && passed.count() > options_.minutes * 60;
}

absl::Status RecoveryRun::Save(SavedState state) {
  if (state_ == nullptr) return absl::OkStatus();
  state.insert(ended_.begin(), ended_.end());
  return state_->Save(state);
}

absl::Status CheckLoss(double loss, double learning_rate) {
  if (std::isfinite(loss)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("training diverges at a learning rate of ",
                                                 learning_rate,
                                                 ": the loss is not finite; give a lower one"));
}

double WeightRate(const Format& format) {
  if (format.IsFloat()) return 0.015;
  switch (format.bits) {
    case 1:
      return 0.03;
    case 2:
      return 0.01;
    case 3:
      return 0.005;
    case 4:
      return 0.003;
    case 5:
    case 6:
      return 0.0015;
    default:
      return 0.0005;
  }
}

}  // namespace bitbudget
