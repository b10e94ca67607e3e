#ifndef BITBUDGET_PLANNER_RUNS_RUN_DIRECTORY_H_
#define BITBUDGET_PLANNER_RUNS_RUN_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace bitbudget {

// A run directory holds stores side by side, each in a folder of its own:
//
//   plan.pb.run/1f3a5c7e9b2d4f60/run.sqlite
//   plan.pb.run/c0ffee0123456789/run.sqlite
//
// A store's folder is named after its identity, so that a command finds the store with the
// evaluations that it can use, or makes one (docs/run-store.md).

// The file in a store's folder that holds everything, and the version of its format.
inline constexpr char kRunStoreFile[] = "run.sqlite";
inline constexpr int64_t kRunStoreVersion = 5;

// One thing that decides what an evaluation means, e.g. {"model fingerprint", "1f3a..."}.
struct IdentityField {
  std::string name;
  std::string value;
};

// The name of a store's folder: the first 16 hex digits of the SHA-256 of its identity and of
// kRunStoreVersion.
std::string StoreName(std::span<const IdentityField> identity);

// The folders of a run directory's stores, by name; empty where there is no such directory.
std::vector<std::string> ListStores(const std::string& run_directory);

// Whether a run directory holds the only store of the versions before 2, which are not read.
bool HoldsOldStore(const std::string& run_directory);

// The files that a command with this run directory may replace: those of all its stores.
std::vector<std::string> RunStoreFiles(const std::string& run_directory);

// A store's folder, created where it is missing and locked: one process at a time has it, until it
// ends in whatever way.
class StoreFolder {
 public:
  // kFailedPrecondition when another process has locked it.
  static absl::StatusOr<std::unique_ptr<StoreFolder>> Lock(const std::string& run_directory,
                                                           const std::string& store_name);
  ~StoreFolder();

  const std::string& path() const { return path_; }
  std::string file() const;
  bool made_file() const { return made_file_; }  // there was none before

  // Removes the files, and the folders that Lock() created where they are empty then.
  void Remove();

 private:
  StoreFolder() = default;

  std::string run_directory_;
  std::string path_;
  bool made_run_directory_ = false;
  bool made_folder_ = false;
  bool made_file_ = false;
  int lock_ = -1;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_DIRECTORY_H_
