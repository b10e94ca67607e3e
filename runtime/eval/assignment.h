#ifndef BITBUDGET_RUNTIME_EVAL_ASSIGNMENT_H_
#define BITBUDGET_RUNTIME_EVAL_ASSIGNMENT_H_

#include <compare>
#include <span>
#include <vector>

#include "runtime/model/decoder/components.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Component -> format, indexed by ComponentId.
using Assignment = std::vector<Format>;

// One change to an assignment.
struct ComponentFormat {
  ComponentId component = 0;
  Format format;

  friend auto operator<=>(const ComponentFormat&, const ComponentFormat&) = default;
};

// `base` with `delta` applied.
inline Assignment WithDelta(Assignment base, std::span<const ComponentFormat> delta) {
  for (const ComponentFormat& change : delta) base[change.component] = change.format;
  return base;
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_ASSIGNMENT_H_
