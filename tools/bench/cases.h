#ifndef BITBUDGET_TOOLS_BENCH_CASES_H_
#define BITBUDGET_TOOLS_BENCH_CASES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/kernels/panels.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// Weights in a format and how their activations are rounded.
struct BenchCase {
  std::string format;
  Activations activations = Activations::kInt16;
};

// What every path is measured with unless formats are asked for.
std::vector<BenchCase> DefaultCases();

// "F", "I" (int16 activations); with int8 activations "U" (4-bit codes) or "V" (8-bit codes).
const char* PathName(const WeightPanels& panels);

// size values with mean 0 and a bell shape, the same for the same seed.
std::vector<float> RandomValues(int64_t size, uint64_t seed);

// Generated weights [n, k], rounded to nearest in the format.
absl::StatusOr<Encoding> RandomWeights(const std::string& format, int64_t n, int64_t k);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_CASES_H_
