// Compiled with -mavx2 -mfma -mf16c (CMakeLists.txt); dispatch.cc calls it only where the CPU has
// them.
#define BITBUDGET_TIER avx2_tier

// The bodies are written over the primitives, which therefore come first.
// clang-format off
#include "runtime/kernels/vec_avx2-inl.h"
#include "runtime/kernels/tier-inl.h"
// clang-format on

namespace bitbudget {

constinit const KernelTable kAvx2Kernels = avx2_tier::MakeTable("avx2");

}  // namespace bitbudget
