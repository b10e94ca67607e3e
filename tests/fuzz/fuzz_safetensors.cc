// A safetensors file from a stranger: any bytes give tensors that lie within the file, side by
// side, or one line.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "absl/strings/string_view.h"
#include "runtime/model/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto file = bitbudget::ParseByteTensors(bytes, "plan.weights.safetensors"); file.ok()) {
    size_t total = 0;
    for (const auto& [name, tensor] : file->tensors) {
      if (tensor.data() < bytes.data() || tensor.size() > size) abort();
      total += tensor.size();
    }
    if (total > size) abort();
  }
  const auto tensors = bitbudget::ParseSafetensors(bytes, "model.safetensors");
  if (!tensors.ok()) {
    const absl::string_view message = tensors.status().message();
    if (message.find('\n') != absl::string_view::npos || message.size() > 1000) abort();
    return 0;
  }
  int64_t owned = 0;
  for (const auto& [name, tensor] : *tensors) {
    const bitbudget::TensorView& view = tensor.view;
    if (view.data < bytes.data() || view.bytes() > bytes.data() + size - view.data) abort();
    owned += view.bytes();
    volatile int64_t bad = view.FirstNonFinite();  // reads every byte
    (void)bad;
  }
  if (owned > static_cast<int64_t>(size)) abort();
  return 0;
}
