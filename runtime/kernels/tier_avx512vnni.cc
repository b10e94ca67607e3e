// Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512vnni beside the flags of the AVX2 tier
// (CMakeLists.txt); dispatch.cc calls it only where the CPU has them.
#define BITBUDGET_TIER avx512vnni_tier

// The bodies are written over the primitives, which therefore come first.
// clang-format off
#include "runtime/kernels/vec_avx512vnni-inl.h"
#include "runtime/kernels/tier-inl.h"
// clang-format on

namespace bitbudget {

constinit const KernelTable kAvx512VnniKernels = avx512vnni_tier::MakeTable("avx512vnni");

}  // namespace bitbudget
