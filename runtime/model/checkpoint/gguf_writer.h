#ifndef BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_WRITER_H_
#define BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_WRITER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Builds one GGUF file, version 3: collects metadata and the list of tensors, in the order of the
// calls, then writes the file in one pass with one tensor in memory at a time. REQUIRES: unique
// keys and names; names of 1 to 63 bytes; formats that GGUF has.
class GgufWriter {
 public:
  void AddText(absl::string_view key, absl::string_view value);
  void AddU32(absl::string_view key, uint32_t value);
  void AddF32(absl::string_view key, float value);
  void AddBool(absl::string_view key, bool value);
  void AddTexts(absl::string_view key, std::span<const std::string> values);
  void AddF32s(absl::string_view key, std::span<const float> values);
  void AddI32s(absl::string_view key, std::span<const int32_t> values);
  // A value of another file, unchanged.
  void AddValue(absl::string_view key, const GgufValue& value);

  // `shape` is outermost first, [rows, cols] or [size]. REQUIRES: whole blocks.
  void AddTensor(const std::string& name, const std::vector<int64_t>& shape, const Format& format);

  // The size of the whole file in bytes.
  int64_t FileBytes() const;

  // Writes the file, whole or not at all. `produce(i, bytes)` fills in the bytes of the i-th
  // tensor, SizeBytes of them; called once for each, in order. Errors: those of the file (naming
  // it) and of `produce`.
  absl::Status Write(
      const std::string& path,
      const std::function<absl::Status(int tensor, std::vector<uint8_t>* bytes)>& produce) const;

 private:
  void Key(absl::string_view key, GgufType type);
  void ArrayKey(absl::string_view key, GgufType element, uint64_t count);
  std::string Header() const;

  uint64_t entry_count_ = 0;
  std::string entries_;
  std::string infos_;
  std::vector<int64_t> sizes_;
  int64_t data_bytes_ = 0;  // of the data section, padding included
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_WRITER_H_
