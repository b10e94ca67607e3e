#ifndef BITBUDGET_PLANS_TARGETS_FORMAT_LISTS_H_
#define BITBUDGET_PLANS_TARGETS_FORMAT_LISTS_H_

#include <initializer_list>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/tensor/format.h"

namespace bitbudget::internal {

// Formats by name; "int4-g*" is int4-g32, int4-g64 and int4-g128. REQUIRES: names of
// SupportedFormats().
std::vector<Format> FormatsNamed(std::initializer_list<absl::string_view> names);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_FORMAT_LISTS_H_
