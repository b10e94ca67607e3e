#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports("f16c") is unknown to clang 14.
bool HasF16c() {
  unsigned int eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// What the flags of tier_avx2.cc let the compiler use (-mavx2 brings popcnt). The built-in asks the
// operating system too (xgetbv): "avx2" holds only where it saves the 256-bit registers, "avx512f"
// only where it saves the 512-bit registers and the masks.
bool HasAvx2Tier() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("popcnt") && HasF16c();
}

// Likewise for tier_avx512vnni.cc.
bool HasAvx512VnniTier() {
  return HasAvx2Tier() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif

std::vector<const KernelTable*> FindKernels() {
  std::vector<const KernelTable*> tables = {&kPortableKernels};
#if defined(__x86_64__)
  if (HasAvx2Tier()) tables.push_back(&kAvx2Kernels);
  if (HasAvx512VnniTier()) tables.push_back(&kAvx512VnniKernels);
#endif
  return tables;
}

absl::string_view Override() {
  const char* value = std::getenv("BITBUDGET_CPU");
  return value == nullptr ? "" : value;
}

const KernelTable* Find(absl::string_view name) {
  for (const KernelTable* table : AvailableKernels()) {
    if (name == table->name) return table;
  }
  return nullptr;
}

}  // namespace

std::span<const KernelTable* const> AvailableKernels() {
  static const std::vector<const KernelTable*> tables = FindKernels();
  return tables;
}

const KernelTable& DefaultKernels() { return *AvailableKernels().back(); }

const KernelTable& Kernels() {
  static const KernelTable* const chosen = [] {
    const KernelTable* named = Find(Override());
    return named != nullptr ? named : &DefaultKernels();
  }();
  return *chosen;
}

absl::Status CheckKernelOverride() {
  const absl::string_view name = Override();
  if (name.empty() || Find(name) != nullptr) return absl::OkStatus();
  std::string available;
  for (const KernelTable* table : AvailableKernels()) {
    absl::StrAppend(&available, available.empty() ? "" : ", ", table->name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "BITBUDGET_CPU=", name, " is not a kernel tier of this machine; available: ", available));
}

}  // namespace bitbudget
