// Prints the kernel tier in use, the verdict on BITBUDGET_CPU, and digests of results that go
// through every kernel. dispatch_test runs it under different values of BITBUDGET_CPU.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/base/sha256.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "runtime/quantize/rtn_encoder.h"

namespace bitbudget {
namespace {

std::vector<float> Values(int64_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> out(size);
  for (float& value : out) value = static_cast<float>(2 * random.Uniform() - 1);
  return out;
}

void Print(const char* what, std::span<const float> values) {
  std::printf("%s %s\n", what, Sha256Hex(std::as_bytes(values)).c_str());
}

int Main() {
  std::printf("tier %s\n", Kernels().name);
  std::printf("override %s\n", CheckKernelOverride().ToString().c_str());

  const int64_t m = 11, n = 100, k = 333;
  const std::vector<float> x = Values(m * k, 1);
  const std::vector<float> weights = Values(n * k, 2);
  PackedActivations packed;
  std::vector<float> y(m * n);
  for (const char* name : {"f32",
                           "bf16",
                           "int8",
                           "int8z-g64",
                           "int4-g32",
                           "int4z-g64",
                           "int3-g64",
                           "int2z-g32",
                           "int4-g32+s50",
                           "onebit-ln"}) {
    const Encoding encoding =
        MakeRtnEncoder()->Encode(ViewOf(weights, n, k), ParseFormat(name).value()).value();
    const WeightPanels panels = PackWeights(encoding);
    PackActivations(panels.packing(), x.data(), k, m, k, &packed);
    Linear(packed, panels, y.data(), n, 2);
    Print(name, y);
    const WeightPanels int8 = PackWeightsInt8(encoding);
    PackActivations(int8.packing(), x.data(), k, m, k, &packed);
    Linear(packed, int8, y.data(), n, 2);
    Print((std::string("a8:") + name).c_str(), y);
  }

  const int64_t heads = 6, kv_heads = 2, dim = 20, positions = 45;
  const std::vector<float> q = Values(positions * heads * dim, 3);
  const std::vector<float> keys = Values(positions * kv_heads * dim, 4);
  const std::vector<float> values = Values(positions * kv_heads * dim, 5);
  KeyValuePanels kv;
  kv.Reset(kv_heads, dim, positions);
  kv.Append(keys.data(), values.data(), kv_heads * dim, positions);
  std::vector<float> out(positions * heads * dim);
  AttentionWorkspace workspace;
  for (const AttentionParameters& parameters :
       {AttentionParameters{0.2f, 0, 0}, AttentionParameters{0.2f, 1.5f, 20}}) {
    Attention(parameters,
              q.data(),
              heads * dim,
              kv,
              heads,
              positions,
              out.data(),
              heads * dim,
              &workspace);
    Print("attention", out);
  }
  return 0;
}

}  // namespace
}  // namespace bitbudget

int main() { return bitbudget::Main(); }
