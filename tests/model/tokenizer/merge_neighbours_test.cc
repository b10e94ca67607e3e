#include "runtime/model/tokenizer/merge_neighbours.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

using Merges = std::map<std::pair<int32_t, int32_t>, Merge>;

// The definition, word for word: the best pair of all is merged until there is none.
std::vector<int32_t> MergeSlowly(std::vector<int32_t> symbols, const Merges& merges) {
  while (true) {
    size_t best = symbols.size();
    const Merge* merge = nullptr;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merges.find({symbols[i], symbols[i + 1]});
      if (found == merges.end()) continue;
      if (merge == nullptr || found->second.priority < merge->priority) {
        merge = &found->second;
        best = i;
      }
    }
    if (merge == nullptr) return symbols;
    symbols[best] = merge->token;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(MergeNeighbours, MergesWhatTheDefinitionMerges) {
  Random random(5);
  int merged_texts = 0;
  for (int round = 0; round < 2000; ++round) {
    // Few tokens and often equal priorities, so that there are many ties and overlaps.
    Merges merges;
    const uint64_t tokens = 2 + random.Below(4);
    for (int i = 0; i < 8; ++i) {
      const auto made = static_cast<int32_t>(tokens + i);
      const auto any = [&] { return static_cast<int32_t>(random.Below(made)); };
      const int32_t left = any();
      merges.emplace(std::pair(left, any()), Merge{static_cast<double>(random.Below(5)), made});
    }
    std::vector<int32_t> text(random.Below(30));
    std::vector<Symbol> symbols;
    for (size_t i = 0; i < text.size(); ++i) {
      text[i] = static_cast<int32_t>(random.Below(tokens));
      symbols.push_back({i, i + 1, text[i]});
    }
    MergeNeighbours(&symbols, [&](const Symbol& left, const Symbol& right) {
      const auto found = merges.find({left.token, right.token});
      return found == merges.end() ? std::nullopt : std::optional(found->second);
    });
    std::vector<int32_t> ids;
    size_t end = 0;
    for (const Symbol& symbol : symbols) {
      EXPECT_EQ(symbol.begin, end);  // side by side
      end = symbol.end;
      ids.push_back(symbol.token);
    }
    EXPECT_EQ(end, text.size());
    ASSERT_EQ(ids, MergeSlowly(text, merges)) << "round " << round;
    merged_texts += ids.size() < text.size();
  }
  EXPECT_GT(merged_texts, 1000);
}

}  // namespace
}  // namespace bitbudget
