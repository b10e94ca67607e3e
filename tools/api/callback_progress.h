#ifndef BITBUDGET_TOOLS_API_CALLBACK_PROGRESS_H_
#define BITBUDGET_TOOLS_API_CALLBACK_PROGRESS_H_

#include <bitbudget/bitbudget.h>

#include <atomic>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/base/progress.h"

namespace bitbudget::api {

// Reports to a callback, and is interrupted once that has returned false.
class CallbackProgress : public bitbudget::Progress {
 public:
  // `callback` outlives it and may be empty.
  explicit CallbackProgress(const ProgressCallback& callback) : callback_(callback) {}

  void Begin(absl::string_view phase, int64_t total) override;
  void Update(int64_t done, absl::string_view note) override;
  void Within(double steps) override;
  void Overall(const OverallProgress* job) override;
  bool Interrupted() const override { return stopped_; }

 private:
  // Calls the callback where enough time has passed since it was called.
  void Report();

  const ProgressCallback& callback_;
  ProgressReport now_;
  absl::Time next_ = absl::InfinitePast();
  std::atomic<bool> stopped_ = false;
};

}  // namespace bitbudget::api

#endif  // BITBUDGET_TOOLS_API_CALLBACK_PROGRESS_H_
