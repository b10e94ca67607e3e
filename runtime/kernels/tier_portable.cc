#define BITBUDGET_TIER portable_tier

// The bodies are written over the primitives, which therefore come first.
// clang-format off
#include "runtime/kernels/vec_portable-inl.h"
#include "runtime/kernels/tier-inl.h"
// clang-format on

namespace bitbudget {

constinit const KernelTable kPortableKernels = portable_tier::MakeTable("portable");

}  // namespace bitbudget
