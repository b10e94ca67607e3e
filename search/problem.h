#ifndef BITBUDGET_SEARCH_PROBLEM_H_
#define BITBUDGET_SEARCH_PROBLEM_H_

#include <cstdint>
#include <vector>

#include "runtime/eval/assignment.h"
#include "runtime/model/components.h"

namespace bitbudget {

// One step of a component's ladder.
struct Choice {
  Format format;
  int64_t bytes = 0;
};

// One ladder index per component: an assignment as the search methods handle it.
using Selection = std::vector<int>;

// The decision to take: one choice per component within a budget.
struct SearchProblem {
  std::vector<Component> components;
  // ladders[c]: what component c may become, by increasing size (ties by format order). A pinned
  // component has one choice. Never empty.
  std::vector<std::vector<Choice>> ladders;
  int64_t fixed_bytes = 0;   // norms and biases, in every candidate
  int64_t budget_bytes = 0;  // hard limit for the whole model

  int size() const { return static_cast<int>(ladders.size()); }
  bool Pinned(ComponentId c) const { return ladders[c].size() == 1; }

  // The size of the whole model. A format outside its component's ladder (the reference's) counts
  // with SizeBytes.
  int64_t TotalBytes(const Assignment& assignment) const;
  int64_t TotalBytes(const Selection& selection) const;
  bool Fits(const Assignment& assignment) const { return TotalBytes(assignment) <= budget_bytes; }
  bool Fits(const Selection& selection) const { return TotalBytes(selection) <= budget_bytes; }

  // The size with every component on its smallest choice.
  int64_t SmallestBytes() const;

  Assignment ToAssignment(const Selection& selection) const;

  // The ladder index of `format` for component c, or -1.
  int IndexOf(ComponentId c, const Format& format) const;

  // The formats that every component that is not pinned may take, by increasing size of the model
  // that they give (ties by format order). Empty when there are none or everything is pinned.
  std::vector<Format> SharedFormats() const;

  // Every component that is not pinned in `format`. REQUIRES: `format` is one of SharedFormats().
  Selection Uniform(const Format& format) const;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_PROBLEM_H_
