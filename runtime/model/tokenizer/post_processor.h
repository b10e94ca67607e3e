#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_POST_PROCESSOR_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "runtime/model/tokenizer/json_part.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// Reads what the post_processor of tokenizer.json puts around a text into add_bos, bos_id, add_eos
// and eos_id; leaves them alone where it says nothing about it (ByteLevel). `ids` are the tokens by
// their text. kUnimplemented: several tokens ahead of a text, or behind it.
absl::Status ReadPostProcessor(const JsonPart& part,
                               const absl::flat_hash_map<std::string, int32_t>& ids,
                               TokenizerData* data);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_POST_PROCESSOR_H_
