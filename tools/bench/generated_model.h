#ifndef BITBUDGET_TOOLS_BENCH_GENERATED_MODEL_H_
#define BITBUDGET_TOOLS_BENCH_GENERATED_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// A model of the geometry of a 1.1B Llama (hidden 2048, MLP 5632, 32 heads, 4 key-value heads,
// 32000 tokens) with `layers` layers (such a model has 22) and random bf16 weights: speed does not
// depend on their values. Its folder is made in `directory` and is gone on return, the mapping
// stays. Errors: what writing meets (naming the file), and those of Model::Load.
absl::StatusOr<std::unique_ptr<Model>> GenerateModel(const std::string& directory,
                                                     int layers,
                                                     int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_GENERATED_MODEL_H_
