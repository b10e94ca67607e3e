#ifndef BITBUDGET_PLANS_TARGETS_MODULE_PATTERNS_H_
#define BITBUDGET_PLANS_TARGETS_MODULE_PATTERNS_H_

#include <optional>
#include <string>
#include <vector>

#include "plans/targets/units.h"
#include "runtime/tensor/format.h"

namespace bitbudget::internal {

// What the modules that a Python pattern matches get.
struct ModulePattern {
  std::string pattern;
  std::optional<Format> format;  // nullopt: they stay as they are stored
};

// Few anchored patterns for all units that the consumer quantizes, fused names included, each name
// in exactly one: "^model\.layers\.([0-3])\.self_attn\.(q_proj|k_proj|v_proj|qkv_proj)$".
std::vector<ModulePattern> PatternsOf(const PlannedUnits& planned);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_MODULE_PATTERNS_H_
