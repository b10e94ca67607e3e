#ifndef BITBUDGET_TOOLS_BENCH_INSTRUCTION_BOUND_H_
#define BITBUDGET_TOOLS_BENCH_INSTRUCTION_BOUND_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "runtime/kernels/panels.h"

namespace bitbudget {

// The inner step of a path and nothing else: twelve independent chains of its multiply and add, no
// memory accesses. No kernel of the path can do more multiply-adds than this.
struct InstructionBound {
  std::string chain;  // "vpmaddwd+vpaddd ymm"
  double macs = 0;    // of one call
  std::function<void()> run;
};

// Of the path on the kernel tier in use; nullopt for the portable tier.
std::optional<InstructionBound> BoundOf(const WeightPanels& panels);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_INSTRUCTION_BOUND_H_
