#ifndef BITBUDGET_SEARCH_PROBLEM_H_
#define BITBUDGET_SEARCH_PROBLEM_H_

#include <cstdint>
#include <limits>
#include <variant>
#include <vector>

#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/components.h"

namespace bitbudget {

// One step of a unit's ladder.
struct Choice {
  Format format;
  int64_t bytes = 0;  // of all the unit's components
  // Formats that this one stands for where rows have no whole blocks of them (a target's
  // substitutes). An assignment that is uniform in one of them has this one here.
  std::vector<Format> instead_of = {};
};

// Index into the ladders: what is decided about as one. A component of its own, or components that
// a target loads or stores together and that therefore share a format.
using UnitId = int;

// One ladder index per unit: an assignment as the search methods handle it.
using Selection = std::vector<int>;

// At most so many bytes for the whole model.
struct ByteBudget {
  int64_t bytes = 0;
};

// At least so many thousandths of the weights of the units that are not pinned are zeros of their
// formats (SparsityPermille), whatever size that takes. Not every method can see to it
// (MethodInfo::takes_sparsity).
struct SparsityTarget {
  int permille = 0;
};

// What an assignment must meet.
using SearchLimit = std::variant<ByteBudget, SparsityTarget>;

// The decision to take: one choice per unit within a limit.
struct SearchProblem {
  std::vector<Component> components;
  // The components of every unit, each in exactly one. Empty: every component is a unit of its own,
  // with the same index.
  std::vector<std::vector<ComponentId>> units;
  // ladders[u]: what unit u may become, by increasing size (ties by format order). A pinned unit
  // has one choice. Never empty.
  std::vector<std::vector<Choice>> ladders;
  int64_t fixed_bytes = 0;  // norms and biases, in every candidate
  SearchLimit limit;

  // The byte budget; unbounded for a sparsity target.
  int64_t MaxBytes() const {
    const ByteBudget* budget = std::get_if<ByteBudget>(&limit);
    return budget != nullptr ? budget->bytes : std::numeric_limits<int64_t>::max();
  }
  // The sparsity target in thousandths; 0 for a byte budget.
  int MinSparsityPermille() const {
    const SparsityTarget* target = std::get_if<SparsityTarget>(&limit);
    return target != nullptr ? target->permille : 0;
  }

  // The number of units.
  int size() const { return static_cast<int>(ladders.size()); }
  bool Pinned(UnitId u) const { return ladders[u].size() == 1; }
  bool AllPinned() const;  // one assignment is possible

  std::vector<ComponentId> Parts(UnitId u) const {
    return units.empty() ? std::vector<ComponentId>{u} : units[u];
  }
  UnitId UnitOf(ComponentId c) const;

  // The changes that put a unit on a choice: one for every component of it.
  std::vector<ComponentFormat> Changes(UnitId u, int choice) const;

  // The bytes that a unit would take in a format; rows that have no whole blocks of it count as if
  // they were filled up to the next one.
  int64_t BytesIn(UnitId u, const Format& format) const;

  // The weights of a unit.
  int64_t Weights(UnitId u) const;

  // The zeros among a thousand weights of the units that are not pinned; 0 when all are.
  double SparsityPermilleOf(const Assignment& assignment) const;
  double SparsityPermilleOf(const Selection& selection) const;

  // The size of the whole model. Formats outside a unit's ladder (the reference's) count with
  // SizeBytes.
  int64_t TotalBytes(const Assignment& assignment) const;
  int64_t TotalBytes(const Selection& selection) const;

  // Whether it meets the limit.
  bool Fits(const Assignment& assignment) const { return Meets(assignment); }
  bool Fits(const Selection& selection) const { return Meets(selection); }

  // The size with every unit on its smallest choice.
  int64_t SmallestBytes() const;

  Assignment ToAssignment(const Selection& selection) const;

  // The ladder index of `format`, or of what stands for it, for unit u; -1 where there is neither.
  int IndexOf(UnitId u, const Format& format) const;

  // The formats that every unit that is not pinned may take, itself or what stands for it, by
  // increasing size of the model that they give (ties by format order). Of formats that give the
  // same assignment only the first. Empty when there are none or everything is pinned.
  std::vector<Format> SharedFormats() const;

  // Every unit that is not pinned in `format`. REQUIRES: `format` is one of SharedFormats().
  Selection Uniform(const Format& format) const;

 private:
  template <typename T>
  bool Meets(const T& candidate) const {
    const int permille = MinSparsityPermille();
    return TotalBytes(candidate) <= MaxBytes() &&
           (permille == 0 || SparsityPermilleOf(candidate) >= permille);
  }
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_PROBLEM_H_
