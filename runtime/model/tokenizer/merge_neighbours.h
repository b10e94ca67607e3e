#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_MERGE_NEIGHBOURS_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_MERGE_NEIGHBOURS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace bitbudget {

// A run of bytes of the text being encoded, and its token; -1 while it is none.
struct Symbol {
  size_t begin;
  size_t end;
  int32_t token;
};

struct Merge {
  double priority;  // the lowest goes first
  int32_t token;    // what the two become
};

// The merging loop of byte pair encoding (Sennrich, Haddow, Birch 2016): of all neighbours that
// `find(const Symbol& left, const Symbol& right)`, returning std::optional<Merge>, can merge, those
// of the lowest priority are merged first, leftmost of equals, until none can be. Symbols lie side
// by side. O(n log n) for n symbols, whatever the text.
template <typename Find>
void MergeNeighbours(std::vector<Symbol>* symbols, Find find) {
  struct Candidate {
    double priority;
    size_t left;         // index of the left symbol
    size_t middle, end;  // where the two ended when they were looked up
    int32_t token;
    bool operator<(const Candidate& other) const {  // the top of the queue is the greatest
      if (priority != other.priority) return priority > other.priority;
      return left > other.left;
    }
  };
  constexpr size_t kNone = SIZE_MAX;
  std::vector<Symbol>& all = *symbols;
  const size_t count = all.size();
  if (count < 2) return;
  std::vector<size_t> next(count), previous(count);
  for (size_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
  }
  // A symbol that was merged into its left neighbour is empty.
  std::vector<Candidate> candidates;
  const auto look_up = [&](size_t left) -> std::optional<Candidate> {
    const size_t right = left == kNone ? kNone : next[left];
    if (right == kNone) return std::nullopt;
    const std::optional<Merge> merge = find(all[left], all[right]);
    if (!merge.has_value()) return std::nullopt;
    return Candidate{merge->priority, left, all[left].end, all[right].end, merge->token};
  };
  for (size_t i = 0; i + 1 < count; ++i) {
    if (const auto candidate = look_up(i)) candidates.push_back(*candidate);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(candidates));
  while (!queue.empty()) {
    const Candidate candidate = queue.top();
    queue.pop();
    Symbol& left = all[candidate.left];
    const size_t right = next[candidate.left];
    if (left.begin == left.end || left.end != candidate.middle || right == kNone ||
        all[right].end != candidate.end) {
      continue;  // one of the two has changed since
    }
    left.end = candidate.end;
    left.token = candidate.token;
    all[right].begin = all[right].end;
    next[candidate.left] = next[right];
    if (next[right] != kNone) previous[next[right]] = candidate.left;
    if (const auto after = look_up(candidate.left)) queue.push(*after);
    if (const auto before = look_up(previous[candidate.left])) queue.push(*before);
  }
  std::erase_if(all, [](const Symbol& symbol) { return symbol.begin == symbol.end; });
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_MERGE_NEIGHBOURS_H_
