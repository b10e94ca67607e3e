#ifndef BITBUDGET_PLANNER_RUNS_RECOVERY_FILE_H_
#define BITBUDGET_PLANNER_RUNS_RECOVERY_FILE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// What a recovery has reached, in one file: a line that says what it is, the SHA-256 of all that
// decides the result (the key), the SHA-256 of the rest, and the values with their names. It is
// replaced as a whole.
class RecoveryFile final : public RecoveryState {
 public:
  // A state of another key, or a damaged one, counts as none; `progress` is told, as it is of one
  // that will be resumed. kInvalidArgument, naming the file, for a file that is no such state,
  // which is not to be replaced; errors of reading.
  static absl::StatusOr<std::unique_ptr<RecoveryFile>> Open(const std::string& path,
                                                            const std::string& key,
                                                            Progress* progress);

  // Where the state of a recovery goes whose plan is written to `plan_path`.
  static std::string PathFor(const std::string& plan_path);

  absl::Status Save(const std::map<std::string, std::string>& state) override;
  absl::StatusOr<std::map<std::string, std::string>> Load() override;

  // The work is done: removes the file, if there is one.
  absl::Status Remove();

  // Whether anything is kept.
  bool kept() const { return kept_; }

 private:
  RecoveryFile(std::string path, std::string key) : path_(std::move(path)), key_(std::move(key)) {}

  const std::string path_;
  const std::string key_;
  bool kept_ = false;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RECOVERY_FILE_H_
