#include "search/problem.h"

#include <glog/logging.h>

#include <algorithm>

#include "search/typical_error.h"

namespace bitbudget {

UnitId SearchProblem::UnitOf(ComponentId c) const {
  if (units.empty()) return c;
  for (UnitId u = 0; u < size(); ++u) {
    if (std::find(units[u].begin(), units[u].end(), c) != units[u].end()) return u;
  }
  LOG(FATAL) << "component " << c << " is in no unit";
}

bool SearchProblem::AllPinned() const {
  return std::all_of(
      ladders.begin(), ladders.end(), [](const auto& ladder) { return ladder.size() == 1; });
}

std::vector<ComponentFormat> SearchProblem::Changes(UnitId u, int choice) const {
  std::vector<ComponentFormat> changes;
  for (const ComponentId c : Parts(u)) changes.push_back({c, ladders[u][choice].format});
  return changes;
}

int64_t SearchProblem::BytesIn(UnitId u, const Format& format) const {
  int64_t bytes = 0;
  const int64_t block = format.BlockSize();
  for (const ComponentId c : Parts(u)) {
    const int64_t cols = (components[c].cols + block - 1) / block * block;
    bytes += SizeBytes(format, components[c].rows, cols);
  }
  return bytes;
}

int64_t SearchProblem::Weights(UnitId u) const {
  int64_t weights = 0;
  for (const ComponentId c : Parts(u)) weights += components[c].rows * components[c].cols;
  return weights;
}

double SearchProblem::SparsityPermilleOf(const Assignment& assignment) const {
  CHECK_EQ(assignment.size(), components.size());
  int64_t zeros = 0;  // thousandths of weights
  int64_t weights = 0;
  for (UnitId u = 0; u < size(); ++u) {
    if (Pinned(u)) continue;
    for (const ComponentId c : Parts(u)) {
      zeros += components[c].rows * components[c].cols * SparsityPermille(assignment[c]);
    }
    weights += Weights(u);
  }
  return weights > 0 ? static_cast<double>(zeros) / static_cast<double>(weights) : 0;
}

double SearchProblem::SparsityPermilleOf(const Selection& selection) const {
  return SparsityPermilleOf(ToAssignment(selection));
}

int64_t SearchProblem::TotalBytes(const Assignment& assignment) const {
  CHECK_EQ(assignment.size(), components.size());
  int64_t total = fixed_bytes;
  for (UnitId u = 0; u < size(); ++u) {
    const std::vector<ComponentId> parts = Parts(u);
    const Format& format = assignment[parts[0]];
    const bool alike = std::all_of(
        parts.begin(), parts.end(), [&](ComponentId c) { return assignment[c] == format; });
    const auto choice =
        std::find_if(ladders[u].begin(), ladders[u].end(), [&](const Choice& candidate) {
          return candidate.format == format;
        });
    if (alike && choice != ladders[u].end()) {
      total += choice->bytes;
      continue;
    }
    for (const ComponentId c : parts) {
      total += SizeBytes(assignment[c], components[c].rows, components[c].cols);
    }
  }
  return total;
}

int64_t SearchProblem::TotalBytes(const Selection& selection) const {
  CHECK_EQ(selection.size(), ladders.size());
  int64_t total = fixed_bytes;
  for (UnitId u = 0; u < size(); ++u) total += ladders[u][selection[u]].bytes;
  return total;
}

int64_t SearchProblem::SmallestBytes() const { return TotalBytes(Selection(ladders.size(), 0)); }

Assignment SearchProblem::ToAssignment(const Selection& selection) const {
  CHECK_EQ(selection.size(), ladders.size());
  Assignment assignment(components.size());
  for (UnitId u = 0; u < size(); ++u) {
    for (const ComponentId c : Parts(u)) assignment[c] = ladders[u][selection[u]].format;
  }
  return assignment;
}

int SearchProblem::IndexOf(UnitId u, const Format& format) const {
  const std::vector<Choice>& ladder = ladders[u];
  for (size_t i = 0; i < ladder.size(); ++i) {
    if (ladder[i].format == format) return static_cast<int>(i);
  }
  for (size_t i = 0; i < ladder.size(); ++i) {
    const std::vector<Format>& others = ladder[i].instead_of;
    if (std::find(others.begin(), others.end(), format) != others.end()) return static_cast<int>(i);
  }
  return -1;
}

std::vector<Format> SearchProblem::SharedFormats() const {
  std::vector<Format> shared;
  for (UnitId first = 0; first < size(); ++first) {
    if (Pinned(first)) continue;
    for (const Choice& choice : ladders[first]) {
      std::vector<Format> candidates = choice.instead_of;
      candidates.insert(candidates.begin(), choice.format);
      for (const Format& format : candidates) {
        bool everywhere = true;
        for (UnitId u = first + 1; u < size(); ++u) {
          everywhere = everywhere && (Pinned(u) || IndexOf(u, format) >= 0);
        }
        if (everywhere) shared.push_back(format);
      }
    }
    break;
  }
  std::sort(shared.begin(), shared.end(), [this](const Format& a, const Format& b) {
    const int64_t a_bytes = TotalBytes(Uniform(a));
    const int64_t b_bytes = TotalBytes(Uniform(b));
    return a_bytes != b_bytes ? a_bytes < b_bytes : a < b;
  });
  std::vector<Format> distinct;
  std::vector<Selection> seen;
  for (const Format& format : shared) {
    Selection selection = Uniform(format);
    if (std::find(seen.begin(), seen.end(), selection) != seen.end()) continue;
    seen.push_back(std::move(selection));
    distinct.push_back(format);
  }
  return distinct;
}

Selection SearchProblem::Uniform(const Format& format) const {
  Selection selection(ladders.size(), 0);
  for (UnitId u = 0; u < size(); ++u) {
    if (Pinned(u)) continue;
    selection[u] = IndexOf(u, format);
    CHECK_GE(selection[u], 0) << components[Parts(u)[0]].name << " cannot take " << format.Name();
  }
  return selection;
}

}  // namespace bitbudget
