#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_METADATA_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_METADATA_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/checkpoint/gguf.h"

namespace bitbudget {

// The keys of a GGUF file that begin with `prefix` ("llama."). Read* leave `out`, the default,
// alone when the key is absent. Messages start with "<file>: <key>: <value> ".
class GgufMetadata {
 public:
  GgufMetadata(const GgufFile& file, std::string prefix);

  std::string Key(absl::string_view name) const;
  const GgufValue* Find(absl::string_view name) const { return file_.Find(Key(name)); }

  // REQUIRES: Find(name) is not null.
  absl::Status Invalid(absl::string_view name, absl::string_view what) const;
  absl::Status Unsupported(absl::string_view name, absl::string_view what) const;
  absl::Status Missing(absl::string_view name) const;

  // A list with one number per layer is accepted where all are equal.
  absl::Status ReadInteger(absl::string_view name, int64_t low, int64_t high, int64_t* out) const;
  // The same, from 1 on; an absent key is an error.
  absl::Status RequireInteger(absl::string_view name, int64_t high, int64_t* out) const;
  absl::Status ReadNumber(absl::string_view name, double low, double high, double* out) const;

 private:
  const GgufFile& file_;
  const std::string prefix_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_METADATA_H_
