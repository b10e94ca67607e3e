#include "search/ordered.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "search/search_run.h"

namespace bitbudget {
namespace {

// Formats whose sizes are closer than this differ in their scales, not in their width.
constexpr double kNextWidth = 1.25;

// The choice of component c for a width: the format itself, else the next smaller choice.
int ChoiceFor(const SearchProblem& problem, ComponentId c, const Format& width) {
  const int exact = problem.IndexOf(c, width);
  if (exact >= 0) return exact;
  // A width whose blocks do not fit the rows counts with its last blocks filled up.
  const int64_t block = width.BlockSize();
  const int64_t blocks = (problem.components[c].cols + block - 1) / block;
  const int64_t bytes = SizeBytes(width, problem.components[c].rows, blocks * block);
  int choice = 0;
  for (size_t i = 0; i < problem.ladders[c].size(); ++i) {
    if (problem.ladders[c][i].bytes <= bytes) choice = static_cast<int>(i);
  }
  return choice;
}

int BlockOf(const SearchProblem& problem, UnitId u) {
  return problem.components[problem.Parts(u)[0]].block;
}

Selection Everywhere(const SearchProblem& problem, const Format& width) {
  Selection selection(problem.size());
  for (int c = 0; c < problem.size(); ++c) selection[c] = ChoiceFor(problem, c, width);
  return selection;
}

// The bytes that the units which are not pinned take at a width.
double OpenBytes(const SearchProblem& problem, const Format& width) {
  int64_t bytes = 0;
  for (int c = 0; c < problem.size(); ++c) {
    if (!problem.Pinned(c)) bytes += problem.ladders[c][ChoiceFor(problem, c, width)].bytes;
  }
  return static_cast<double>(bytes);
}

// The chains of widths to try when none is given; see the header.
std::vector<std::vector<Format>> DefaultChains(const SearchProblem& problem) {
  std::vector<Format> formats;
  for (int c = 0; c < problem.size(); ++c) {
    for (const Choice& choice : problem.ladders[c]) {
      if (!problem.Pinned(c)) formats.push_back(choice.format);
    }
  }
  std::sort(formats.begin(), formats.end());
  formats.erase(std::unique(formats.begin(), formats.end()), formats.end());
  std::stable_sort(formats.begin(), formats.end(), [&](const Format& a, const Format& b) {
    return OpenBytes(problem, a) < OpenBytes(problem, b);
  });
  std::vector<double> bytes;
  for (const Format& format : formats) bytes.push_back(OpenBytes(problem, format));

  const int count = static_cast<int>(formats.size());
  int widest = -1;
  for (int i = 0; i < count; ++i) {
    if (problem.Fits(Everywhere(problem, formats[i]))) widest = i;
  }
  if (widest < 0) return {};
  int narrowest = widest;
  while (narrowest > 0 && bytes[narrowest - 1] * kNextWidth > bytes[widest]) --narrowest;

  auto next_width = [&](int from) {
    int i = from + 1;
    while (i < count && bytes[i] < bytes[from] * kNextWidth) ++i;
    return i;
  };
  std::vector<std::vector<Format>> chains;
  for (const int low : {widest, narrowest, (narrowest + widest) / 2}) {
    int high = next_width(low);
    if (high == count) chains.push_back({formats[low]});
    for (int k = 0; k < 2 && high < count; ++k, high = next_width(high)) {
      chains.push_back({formats[low], formats[high]});
    }
  }
  return chains;
}

// Raises `blocks` (lists of units, most important first) through the widths; empty when the lowest
// does not fit.
Selection Raise(const SearchProblem& problem,
                const std::vector<std::vector<UnitId>>& blocks,
                const std::vector<Format>& widths) {
  Selection selection = Everywhere(problem, widths[0]);
  int64_t left = problem.budget_bytes - problem.TotalBytes(selection);
  if (left < 0) return {};
  // Raises all of `units` if that fits.
  auto raise = [&](std::span<const UnitId> units, const Format& width) {
    int64_t bytes = 0;
    for (const UnitId c : units) {
      bytes += problem.ladders[c][ChoiceFor(problem, c, width)].bytes -
               problem.ladders[c][selection[c]].bytes;
    }
    if (bytes > left) return false;
    for (const UnitId c : units) selection[c] = ChoiceFor(problem, c, width);
    left -= bytes;
    return true;
  };
  for (size_t w = 1; w < widths.size(); ++w) {
    bool whole_blocks = true;
    for (const std::vector<UnitId>& block : blocks) {
      whole_blocks = whole_blocks && raise(block, widths[w]);
      if (whole_blocks) continue;
      for (const UnitId& c : block) raise({&c, 1}, widths[w]);
    }
    if (!whole_blocks) break;
  }
  return selection;
}

class OrderedSearch : public SearchMethod {
 public:
  OrderedSearch(const OrderedOptions& options, const Objective& objective)
      : options_(options), objective_(objective) {}

  absl::string_view name() const override { return options_.name; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchRun run(context);
    const SearchProblem& problem = run.problem();
    if (options_.widths.size() == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.name,
                       " search: one width given (",
                       options_.widths[0].Name(),
                       "); give two or more, or none to have them chosen"));
    }
    BB_ASSIGN_OR_RETURN(const std::vector<std::vector<UnitId>> blocks, Blocks(problem));
    if (!run.Feasible()) return run.Finish(absl::OkStatus());
    std::vector<std::vector<Format>> chains;
    if (options_.widths.empty()) {
      chains = DefaultChains(problem);
    } else {
      chains.push_back(options_.widths);
    }
    std::vector<UnitId> outside;  // embedding and head
    for (int c = 0; c < problem.size(); ++c) {
      if (BlockOf(problem, c) < 0) outside.push_back(c);
    }
    std::vector<std::vector<UnitId>> first, last = blocks;
    for (const UnitId c : outside) first.push_back({c});
    first.insert(first.end(), blocks.begin(), blocks.end());
    for (const UnitId c : outside) last.push_back({c});

    std::vector<Selection> candidates;
    for (const std::vector<Format>& chain : chains) {
      for (const auto& order : {first, last}) {
        Selection selection = Raise(problem, order, chain);
        const bool known =
            std::find(candidates.begin(), candidates.end(), selection) != candidates.end();
        if (!selection.empty() && !known) candidates.push_back(std::move(selection));
      }
    }
    return run.Finish(run.KeepBest(candidates, objective_));
  }

 private:
  // The units of every block in the order of importance.
  absl::StatusOr<std::vector<std::vector<UnitId>>> Blocks(const SearchProblem& problem) const {
    int count = 0;
    for (const Component& component : problem.components) {
      count = std::max(count, component.block + 1);
    }
    std::vector<int> sorted = options_.block_order;
    std::sort(sorted.begin(), sorted.end());
    bool complete = static_cast<int>(sorted.size()) == count;
    for (int b = 0; complete && b < count; ++b) complete = sorted[b] == b;
    if (!complete) {
      return absl::InvalidArgumentError(absl::StrCat(options_.name,
                                                     " search: the block order has ",
                                                     sorted.size(),
                                                     " entries; it must name each of ",
                                                     "the model's ",
                                                     count,
                                                     " blocks once"));
    }
    std::vector<std::vector<UnitId>> blocks;
    for (const int b : options_.block_order) {
      std::vector<UnitId>& block = blocks.emplace_back();
      for (int c = 0; c < problem.size(); ++c) {
        if (BlockOf(problem, c) == b) block.push_back(c);
      }
    }
    return blocks;
  }

  const OrderedOptions options_;
  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeOrderedSearch(const OrderedOptions& options,
                                                const Objective& objective) {
  return std::make_unique<OrderedSearch>(options, objective);
}

}  // namespace bitbudget
