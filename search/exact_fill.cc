#include "search/exact_fill.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

namespace bitbudget {
namespace {

// The widths of the undominated list: narrow passes find a good selection cheaply, and with the
// smaller gap the wide pass has little left to look at.
constexpr int kListSizes[] = {256, 4096, 32768};

// A choice that may be part of an optimum.
struct Item {
  int choice = 0;
  int64_t bytes = 0;
  double cost = 0;
  double excess = 0;  // of cost + multiplier * bytes over the unit's minimum; >= 0
};

// A partial selection over the units handled so far.
struct State {
  int64_t bytes = 0;
  double cost = 0;
  double excess = 0;
  int parent = 0;  // in the list before
  int choice = 0;
};

// The allowed choices that no other choice beats in both bytes and cost, by increasing bytes.
std::vector<Item> Undominated(const std::vector<Choice>& ladder, const std::vector<double>& cost) {
  CHECK_EQ(ladder.size(), cost.size());
  std::vector<Item> items;
  for (size_t i = 0; i < ladder.size(); ++i) {
    if (std::isfinite(cost[i])) items.push_back({static_cast<int>(i), ladder[i].bytes, cost[i], 0});
  }
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
  });
  size_t kept = 0;
  for (const Item& item : items) {
    if (kept == 0 || item.cost < items[kept - 1].cost) items[kept++] = item;
  }
  items.resize(kept);
  return items;
}

// Cost saved per byte from one item to a larger one.
double Saving(const Item& from, const Item& to) {
  return (from.cost - to.cost) / static_cast<double>(to.bytes - from.bytes);
}

// Positions in `items` (undominated) on the lower convex hull; savings strictly decrease along it.
std::vector<int> HullOf(const std::vector<Item>& items) {
  std::vector<int> hull;
  for (int i = 0; i < static_cast<int>(items.size()); ++i) {
    while (hull.size() >= 2 && Saving(items[hull[hull.size() - 2]], items[hull.back()]) <=
                                   Saving(items[hull.back()], items[i])) {
      hull.pop_back();
    }
    hull.push_back(i);
  }
  return hull;
}

class Filler {
 public:
  Filler(const SearchProblem& problem, const CostTable& cost) : problem_(problem), cost_(cost) {
    CHECK_EQ(problem.ladders.size(), cost.size());
  }

  FillResult Run() {
    FillResult result;
    if (!Sweep()) return result;
    bool proven = gap_ <= 0;
    for (const int list_size : kListSizes) {
      if (proven) break;
      proven = Fill(list_size);
    }
    result.selection = best_;
    result.cost = CostOf(best_);
    result.proven = proven;
    result.lower_bound = proven ? result.cost : result.cost - gap_;
    return result;
  }

 private:
  double CostOf(const Selection& selection) const {
    double sum = 0;
    for (int c = 0; c < problem_.size(); ++c) sum += cost_[c][selection[c]];
    return sum;
  }

  // How far the cost of `selection` is above the lower bound of the multiplier, from terms that are
  // all positive, so that nothing cancels.
  double GapOf(const Selection& selection) const {
    double gap =
        multiplier_ * static_cast<double>(problem_.MaxBytes() - problem_.TotalBytes(selection));
    for (int c = 0; c < problem_.size(); ++c) {
      for (const Item& item : items_[c]) {
        if (item.choice == selection[c]) gap += item.excess;
      }
    }
    return gap;
  }

  // The Lagrangian sweep: sets items_, best_, multiplier_ and gap_. False when nothing fits.
  bool Sweep() {
    struct Step {
      double saving;
      int unit;
      int from, to;  // positions in items_[unit]
    };
    std::vector<Step> steps;
    items_.resize(problem_.size());
    std::vector<int> position(problem_.size(), 0);
    int64_t left = problem_.MaxBytes() - problem_.fixed_bytes;
    for (int c = 0; c < problem_.size(); ++c) {
      items_[c] = Undominated(problem_.ladders[c], cost_[c]);
      if (items_[c].empty()) return false;
      left -= items_[c][0].bytes;
      const std::vector<int> hull = HullOf(items_[c]);
      for (size_t i = 1; i < hull.size(); ++i) {
        steps.push_back(
            {Saving(items_[c][hull[i - 1]], items_[c][hull[i]]), c, hull[i - 1], hull[i]});
      }
    }
    if (left < 0) return false;
    // Stable: equal savings stay in unit order, and a unit's own steps in hull order.
    std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
      return a.saving > b.saving;
    });
    for (const Step& step : steps) {
      if (position[step.unit] != step.from) continue;  // an earlier step did not fit
      const std::vector<Item>& items = items_[step.unit];
      const int64_t bytes = items[step.to].bytes - items[step.from].bytes;
      if (bytes <= left) {
        position[step.unit] = step.to;
        left -= bytes;
      } else if (multiplier_ == 0) {
        multiplier_ = step.saving;
      }
    }
    best_.resize(problem_.size());
    double scale = 0;
    for (int c = 0; c < problem_.size(); ++c) {
      best_[c] = items_[c][position[c]].choice;
      double least = std::numeric_limits<double>::infinity();
      for (Item& item : items_[c]) {
        item.excess = item.cost + multiplier_ * static_cast<double>(item.bytes);
        scale += std::abs(item.cost) + multiplier_ * static_cast<double>(item.bytes);
        least = std::min(least, item.excess);
      }
      for (Item& item : items_[c]) item.excess -= least;
    }
    // Sums of n rounded terms are off by at most n * epsilon * sum|term|.
    rounding_ = problem_.size() * std::numeric_limits<double>::epsilon() * scale;
    gap_ = GapOf(best_);
    return true;
  }

  // One pass with lists of at most `list_size` entries; improves best_ and gap_. True when nothing
  // was cut off, i.e. best_ is an optimum.
  bool Fill(int list_size) {
    // Choices whose excess alone is above the gap cannot be part of anything better.
    const double limit = gap_ + rounding_;
    Selection selection(problem_.size());
    std::vector<int> open;
    std::vector<std::vector<Item>> choices;
    int64_t left = problem_.MaxBytes() - problem_.fixed_bytes;
    for (int c = 0; c < problem_.size(); ++c) {
      std::vector<Item> kept;
      for (const Item& item : items_[c]) {
        if (item.excess <= limit) kept.push_back(item);
      }
      if (kept.size() == 1) {
        selection[c] = kept[0].choice;
        left -= kept[0].bytes;
      } else {
        open.push_back(c);
        choices.push_back(std::move(kept));
      }
    }
    // What the units after this one need at least and can use at most.
    const int n = static_cast<int>(open.size());
    std::vector<int64_t> least(n + 1, 0), most(n + 1, 0);
    for (int i = n - 1; i >= 0; --i) {
      least[i] = least[i + 1] + choices[i].front().bytes;
      most[i] = most[i + 1] + choices[i].back().bytes;
    }

    std::vector<std::vector<std::pair<int, int>>> back(n);  // parent, choice
    std::vector<State> list = {State{}}, merged, shifted, next;
    bool complete = true;
    for (int i = 0; i < n; ++i) {
      merged.clear();
      for (const Item& item : choices[i]) {
        shifted.clear();
        for (int parent = 0; parent < static_cast<int>(list.size()); ++parent) {
          const State& from = list[parent];
          const State to = {from.bytes + item.bytes,
                            from.cost + item.cost,
                            from.excess + item.excess,
                            parent,
                            item.choice};
          const int64_t unused = left - to.bytes - most[i + 1];
          if (to.bytes + least[i + 1] > left) break;  // the list is sorted by bytes
          const double bound =
              to.excess + (unused > 0 ? multiplier_ * static_cast<double>(unused) : 0.0);
          if (bound <= limit) shifted.push_back(to);
        }
        next.clear();
        std::merge(merged.begin(),
                   merged.end(),
                   shifted.begin(),
                   shifted.end(),
                   std::back_inserter(next),
                   [](const State& a, const State& b) {
                     return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
                   });
        std::swap(merged, next);
      }
      list.clear();
      for (const State& state : merged) {
        if (list.empty() || state.cost < list.back().cost) list.push_back(state);
      }
      if (static_cast<int>(list.size()) > list_size) {
        complete = false;
        Cut(list_size, list);
      }
      for (const State& state : list) back[i].push_back({state.parent, state.choice});
      if (list.empty()) return complete;  // nothing is as good as best_
    }
    // Sorted by bytes with falling cost: the last one is the cheapest.
    int at = static_cast<int>(list.size()) - 1;
    for (int i = n - 1; i >= 0; --i) {
      selection[open[i]] = back[i][at].second;
      at = back[i][at].first;
    }
    const double cost = CostOf(selection), best_cost = CostOf(best_);
    if (cost < best_cost ||
        (cost == best_cost && problem_.TotalBytes(selection) < problem_.TotalBytes(best_))) {
      best_ = selection;
      gap_ = GapOf(best_);
    }
    return complete;
  }

  // Keeps the `size` states of least excess (ties: fewer bytes), in their order.
  static void Cut(int size, std::vector<State>& list) {
    std::vector<double> excess;
    for (const State& state : list) excess.push_back(state.excess);
    std::nth_element(excess.begin(), excess.begin() + size, excess.end());
    const double cut = excess[size];
    auto below = [cut](const State& state) { return state.excess < cut; };
    auto ties = size - std::count_if(list.begin(), list.end(), below);
    std::erase_if(list, [&](const State& state) {
      return !below(state) && (state.excess > cut || ties-- <= 0);
    });
  }

  const SearchProblem& problem_;
  const CostTable& cost_;
  std::vector<std::vector<Item>> items_;
  double multiplier_ = 0;  // cost per byte
  Selection best_;
  double gap_ = 0;       // of best_ above the lower bound
  double rounding_ = 0;  // what sums of costs can be off by
};

}  // namespace

FillResult FillBudget(const SearchProblem& problem, const CostTable& cost) {
  return Filler(problem, cost).Run();
}

Selection MinimizeSum(const SearchProblem& problem, const CostTable& cost) {
  return FillBudget(problem, cost).selection;
}

std::vector<int> LowerHull(const std::vector<Choice>& ladder, const std::vector<double>& cost) {
  const std::vector<Item> items = Undominated(ladder, cost);
  std::vector<int> hull = HullOf(items);
  for (int& i : hull) i = items[i].choice;
  return hull;
}

}  // namespace bitbudget
