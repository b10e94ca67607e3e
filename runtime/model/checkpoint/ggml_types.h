#ifndef BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGML_TYPES_H_
#define BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGML_TYPES_H_

#include <cstdint>
#include <optional>

#include "runtime/tensor/format.h"

namespace bitbudget {

// The format of a tensor type by its number in GGUF files; empty when this build does not read it.
std::optional<Format> FormatOfGgmlType(uint32_t type);
// The number of a float or block format; empty for formats that GGUF does not have.
std::optional<uint32_t> GgmlTypeOf(const Format& format);
// "q4_k", also of types that this build does not read; null for numbers that ggml does not use.
const char* GgmlTypeName(uint32_t type);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGML_TYPES_H_
