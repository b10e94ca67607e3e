#ifndef BITBUDGET_RUNTIME_KERNELS_TABLE_H_
#define BITBUDGET_RUNTIME_KERNELS_TABLE_H_

#include <span>

#include "absl/status/status.h"
#include "runtime/kernels/kernel_table.h"

namespace bitbudget {

// All tiers this machine can run, slowest first.
std::span<const KernelTable* const> AvailableKernels();

// The tier that runs unless another is asked for: avx2 where the CPU has it, else portable. Not
// avx512vnni, which has been run on one kind of CPU only (docs/kernels.md, "Tiers").
const KernelTable& DefaultKernels();

// The tier in use: the default, or what the environment variable BITBUDGET_CPU names
// (portable | avx2 | avx512vnni). Chosen once, at the first call. CHECK-fails never: an unknown or
// unavailable name is reported by CheckKernelOverride and the default is used.
const KernelTable& Kernels();

// OK when BITBUDGET_CPU is unset, empty or names an available tier; otherwise kInvalidArgument with
// the names that are available. The command asks this before it starts.
absl::Status CheckKernelOverride();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_TABLE_H_
