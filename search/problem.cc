#include "search/problem.h"

#include <glog/logging.h>

#include <algorithm>

namespace bitbudget {

int64_t SearchProblem::TotalBytes(const Assignment& assignment) const {
  CHECK_EQ(assignment.size(), ladders.size());
  int64_t total = fixed_bytes;
  for (int c = 0; c < size(); ++c) {
    const int index = IndexOf(c, assignment[c]);
    total += index >= 0 ? ladders[c][index].bytes
                        : SizeBytes(assignment[c], components[c].rows, components[c].cols);
  }
  return total;
}

int64_t SearchProblem::TotalBytes(const Selection& selection) const {
  CHECK_EQ(selection.size(), ladders.size());
  int64_t total = fixed_bytes;
  for (int c = 0; c < size(); ++c) total += ladders[c][selection[c]].bytes;
  return total;
}

int64_t SearchProblem::SmallestBytes() const { return TotalBytes(Selection(ladders.size(), 0)); }

Assignment SearchProblem::ToAssignment(const Selection& selection) const {
  CHECK_EQ(selection.size(), ladders.size());
  Assignment assignment(selection.size());
  for (int c = 0; c < size(); ++c) assignment[c] = ladders[c][selection[c]].format;
  return assignment;
}

int SearchProblem::IndexOf(ComponentId c, const Format& format) const {
  const std::vector<Choice>& ladder = ladders[c];
  for (size_t i = 0; i < ladder.size(); ++i) {
    if (ladder[i].format == format) return static_cast<int>(i);
  }
  return -1;
}

std::vector<Format> SearchProblem::SharedFormats() const {
  std::vector<Format> shared;
  for (int first = 0; first < size(); ++first) {
    if (Pinned(first)) continue;
    for (const Choice& choice : ladders[first]) {
      bool everywhere = true;
      for (int c = first + 1; c < size(); ++c) {
        everywhere = everywhere && (Pinned(c) || IndexOf(c, choice.format) >= 0);
      }
      if (everywhere) shared.push_back(choice.format);
    }
    break;
  }
  std::sort(shared.begin(), shared.end(), [this](const Format& a, const Format& b) {
    const int64_t a_bytes = TotalBytes(Uniform(a));
    const int64_t b_bytes = TotalBytes(Uniform(b));
    return a_bytes != b_bytes ? a_bytes < b_bytes : a < b;
  });
  return shared;
}

Selection SearchProblem::Uniform(const Format& format) const {
  Selection selection(ladders.size(), 0);
  for (int c = 0; c < size(); ++c) {
    if (Pinned(c)) continue;
    selection[c] = IndexOf(c, format);
    CHECK_GE(selection[c], 0) << components[c].name << " cannot take " << format.Name();
  }
  return selection;
}

}  // namespace bitbudget
