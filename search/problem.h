#ifndef BITBUDGET_SEARCH_PROBLEM_H_
#define BITBUDGET_SEARCH_PROBLEM_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/components.h"

namespace bitbudget {

// One step of a component's ladder.
struct Choice {
  Format format;
  int64_t bytes = 0;
};

// The decision to take: one choice per component within a budget.
struct SearchProblem {
  std::vector<Component> components;
  // ladders[c]: what component c may become, by increasing size (ties by format order). A pinned
  // component has one choice. Never empty.
  std::vector<std::vector<Choice>> ladders;
  int64_t fixed_bytes = 0;   // norms and biases, in every candidate
  int64_t budget_bytes = 0;  // hard limit for the whole model

  int64_t TotalBytes(const Assignment& assignment) const;
  bool Fits(const Assignment& assignment) const { return TotalBytes(assignment) <= budget_bytes; }
  // The size with every component on its smallest choice.
  int64_t SmallestBytes() const;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_PROBLEM_H_
