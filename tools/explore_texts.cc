#include "tools/explore_texts.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace bitbudget {
namespace {

// Tokens as the text that each adds to those before it.
std::vector<std::string> Pieces(std::span<const int32_t> tokens, const Model& model) {
  std::vector<std::string> pieces;
  size_t shown = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string text = model.tokenizer() != nullptr
                                 ? model.tokenizer()->Decode(tokens.first(i + 1))
                                 : absl::StrCat(i == 0 ? "" : " ", tokens[i]);
    if (model.tokenizer() == nullptr) {
      pieces.push_back(text);
      continue;
    }
    pieces.push_back(text.size() > shown ? text.substr(shown) : "");
    shown = text.size();
  }
  return pieces;
}

std::string TextOf(std::span<const int32_t> tokens, const Model& model) {
  std::string text;
  for (const std::string& piece : Pieces(tokens, model)) text += piece;
  return text;
}

}  // namespace

nlohmann::ordered_json ExploreTexts(const ExploreReport& report, const Model& model) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  const size_t count = report.outcomes.empty() ? 0 : report.outcomes[0].continuations.size();
  for (size_t i = 0; i < count; ++i) {
    const Continuation& first = report.outcomes[0].continuations[i];
    nlohmann::ordered_json json = {{"prompt", TextOf(first.prompt, model)},
                                   {"reference", Pieces(first.reference, model)},
                                   {"points", nlohmann::ordered_json::object()}};
    for (size_t p = 0; p < report.points.size(); ++p) {
      if (!report.points[p].outcome.has_value()) continue;
      const PlanOutcome& outcome = report.outcomes[*report.points[p].outcome];
      if (i >= outcome.continuations.size()) continue;
      const Continuation& own = outcome.continuations[i];
      const auto end = std::mismatch(
          own.plan.begin(), own.plan.end(), own.reference.begin(), own.reference.end());
      json["points"][absl::StrCat(p)] = {{"tokens", Pieces(own.plan, model)},
                                         {"first_divergent", end.first - own.plan.begin()}};
    }
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace bitbudget
