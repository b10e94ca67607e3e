#include "planner/jobs/round_progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace bitbudget {

void RoundProgress::Begin(absl::string_view phase, int64_t total) {
  total_ = total;
  progress_.Begin(
      absl::StrFormat("round %d of %d, %s", rounds_.done, rounds_.done + rounds_.left, phase),
      total);
}

void RoundProgress::Update(int64_t done, absl::string_view note) {
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
  const int64_t all = std::max<int64_t>(1, ended_ + done);
  const double step = passed.count() / static_cast<double>(all);
  const double round = round_seconds_ + step * static_cast<double>(steps_);
  const double left = step * static_cast<double>(std::max<int64_t>(0, steps_ - all)) +
                      round * static_cast<double>(rounds_.left);
  const auto seconds = static_cast<int64_t>(left + 0.5);
  progress_.Update(
      done, absl::StrFormat("%s; all rounds: %d:%02d left", note, seconds / 60, seconds % 60));
}

void RoundProgress::End() {
  ended_ += total_;
  total_ = 0;
  progress_.End();
}

}  // namespace bitbudget
