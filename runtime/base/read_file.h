#ifndef BITBUDGET_RUNTIME_BASE_READ_FILE_H_
#define BITBUDGET_RUNTIME_BASE_READ_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace bitbudget {

// How large files from strangers may be, many times what real ones take.
inline constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;      // config.json, a consumer's
inline constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;  // tokenizer.json, .model
inline constexpr int64_t kMaxIndexBytes = int64_t{256} << 20;      // *.safetensors.index.json
inline constexpr int64_t kMaxPlanBytes = int64_t{256} << 20;
inline constexpr int64_t kMaxTextBytes = int64_t{1} << 30;  // texts and prompts

// A whole file, of at most `max_bytes`. Errors, with the path and before any memory is taken: those
// of MappedFile::Open, kInvalidArgument where it is larger.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes);

// Refuses what is there but no regular file (or a link to one): opening a FIFO waits for its other
// end, and a device may never end. kInvalidArgument, with the path.
absl::Status CheckRegularOrAbsent(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_READ_FILE_H_
