#include "search/widths.h"

#include <algorithm>

#include "search/typical_error.h"

namespace bitbudget {
namespace {

// Formats whose sizes are closer than this differ in their scales, not in their width.
constexpr double kNextWidth = 1.25;

// The bytes that the units which are not pinned take at a width.
double OpenBytes(const SearchProblem& problem, const Format& width) {
  int64_t bytes = 0;
  for (UnitId u = 0; u < problem.size(); ++u) {
    if (!problem.Pinned(u)) bytes += problem.ladders[u][ChoiceFor(problem, u, width)].bytes;
  }
  return static_cast<double>(bytes);
}

struct Width {
  Format format;
  double bytes = 0;
};

// All formats of the open ladders by increasing size, without those that are larger but no better
// than another one.
std::vector<Width> UsefulWidths(const SearchProblem& problem) {
  std::vector<Format> formats;
  for (UnitId u = 0; u < problem.size(); ++u) {
    for (const Choice& choice : problem.ladders[u]) {
      if (!problem.Pinned(u)) formats.push_back(choice.format);
    }
  }
  std::sort(formats.begin(), formats.end());
  formats.erase(std::unique(formats.begin(), formats.end()), formats.end());
  std::vector<Width> widths;
  for (const Format& format : formats) widths.push_back({format, OpenBytes(problem, format)});
  std::stable_sort(widths.begin(), widths.end(), [](const Width& a, const Width& b) {
    return a.bytes < b.bytes;
  });
  if (widths.size() == 2) return widths;
  // A finer group makes the typical error of the same bits no smaller, so equal errors stay.
  std::vector<Width> useful;
  for (const Width& width : widths) {
    const bool beaten = std::any_of(useful.begin(), useful.end(), [&](const Width& smaller) {
      return TypicalError(smaller.format) < TypicalError(width.format);
    });
    if (!beaten) useful.push_back(width);
  }
  return useful;
}

}  // namespace

int ChoiceFor(const SearchProblem& problem, UnitId u, const Format& width) {
  const int exact = problem.IndexOf(u, width);
  if (exact >= 0) return exact;
  // A width whose blocks do not fit the rows counts with its last blocks filled up.
  const int64_t bytes = problem.BytesIn(u, width);
  int choice = 0;
  for (size_t i = 0; i < problem.ladders[u].size(); ++i) {
    if (problem.ladders[u][i].bytes <= bytes) choice = static_cast<int>(i);
  }
  return choice;
}

Selection Everywhere(const SearchProblem& problem, const Format& width) {
  Selection selection(problem.size());
  for (UnitId u = 0; u < problem.size(); ++u) selection[u] = ChoiceFor(problem, u, width);
  return selection;
}

std::vector<std::vector<Format>> WidthChains(const SearchProblem& problem) {
  const std::vector<Width> widths = UsefulWidths(problem);
  const int count = static_cast<int>(widths.size());
  int widest = -1;
  for (int i = 0; i < count; ++i) {
    if (problem.Fits(Everywhere(problem, widths[i].format))) widest = i;
  }
  if (widest < 0) return {};
  if (count == 2) return {{widths[0].format, widths[1].format}};
  int narrowest = widest;
  while (narrowest > 0 && widths[narrowest - 1].bytes * kNextWidth > widths[widest].bytes) {
    --narrowest;
  }
  const auto next_width = [&](int from) {
    int i = from + 1;
    while (i < count && widths[i].bytes < widths[from].bytes * kNextWidth) ++i;
    return i;
  };
  std::vector<std::vector<Format>> chains;
  for (const int low : {widest, narrowest, (narrowest + widest) / 2}) {
    int high = next_width(low);
    if (high == count) chains.push_back({widths[low].format});
    for (int k = 0; k < 2 && high < count; ++k, high = next_width(high)) {
      chains.push_back({widths[low].format, widths[high].format});
    }
  }
  return chains;
}

}  // namespace bitbudget
