#include "tools/bench/cases.h"

#include <memory>

#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

std::vector<BenchCase> DefaultCases() {
  std::vector<BenchCase> cases = {{"f32", Activations::kF32},
                                  {"int8-g32", Activations::kInt16},
                                  {"int8-g128", Activations::kInt16},
                                  {"int4-g128", Activations::kInt16},
                                  {"int8-g32", Activations::kInt8},
                                  {"int8-g128", Activations::kInt8}};
  for (const char* format :
       {"int4-g32", "int4-g64", "int4-g128", "int4z-g32", "int4z-g64", "int4z-g128"}) {
    cases.push_back({format, Activations::kInt8});
  }
  return cases;
}

const char* PathName(const WeightPanels& panels) {
  switch (panels.path) {
    case Path::kF32:
      return "F";
    case Path::kInt16:
      return "I";
    case Path::kInt8:
      return panels.code_bits == 4 ? "U" : "V";
    case Path::kNone:
      break;
  }
  return "-";
}

std::vector<float> RandomValues(int64_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values) {
    value = static_cast<float>(random.Uniform() + random.Uniform() + random.Uniform() - 1.5);
  }
  return values;
}

absl::StatusOr<Encoding> RandomWeights(const std::string& format, int64_t n, int64_t k) {
  BB_ASSIGN_OR_RETURN(const Format parsed, ParseFormat(format));
  const std::vector<float> values = RandomValues(n * k, /*seed=*/1);
  return MakeRtnEncoder()->Encode(ViewOf(values, n, k), parsed);
}

}  // namespace bitbudget
