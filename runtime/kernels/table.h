#ifndef BITBUDGET_RUNTIME_KERNELS_TABLE_H_
#define BITBUDGET_RUNTIME_KERNELS_TABLE_H_

#include <span>

#include "absl/status/status.h"
#include "runtime/kernels/kernel_table.h"

namespace bitbudget {

// All tiers this machine can run, slowest first.
std::span<const KernelTable* const> AvailableKernels();

// The tier that runs unless another is asked for: the fastest one that this machine has.
const KernelTable& DefaultKernels();

// The tier in use: the default, or what the environment variable BITBUDGET_CPU names
// (portable | avx2 | avx512vnni). Chosen once, at the first call. An unknown or unavailable name
// leaves the default in use; CheckKernelOverride() reports it.
const KernelTable& Kernels();

// OK when BITBUDGET_CPU is unset, empty or names an available tier; otherwise kInvalidArgument with
// the names that are available. The command asks this before it starts.
absl::Status CheckKernelOverride();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_TABLE_H_
