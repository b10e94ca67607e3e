#ifndef BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_
#define BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// Writes `contents` to a temporary file beside `path`, syncs it, and renames it to `path`. On any
// error (full disk, no permission) the old file at `path` is untouched and no temporary is left.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents);

// Whether WriteFileAtomically(path) could create its file: lets a long job fail before its work
// instead of after it. Leaves nothing behind.
absl::Status CheckWritable(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_ATOMIC_FILE_H_
