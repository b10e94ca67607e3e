#include "runtime/model/tokenizer/pre_tokenizer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr size_t kMaxSteps = 100;  // known models have up to four

// Cuts `text` at the matches and appends the pieces.
void Cut(absl::string_view text,
         std::span<const Regex::Match> matches,
         SplitBehavior behavior,
         std::vector<absl::string_view>* pieces) {
  size_t begin = 0;  // of the piece being made
  const auto end_piece = [&](size_t end) {
    if (end > begin) pieces->push_back(text.substr(begin, end - begin));
    begin = end;
  };
  for (const Regex::Match& match : matches) {
    if (behavior != SplitBehavior::kMergedWithPrevious) end_piece(match.begin);
    switch (behavior) {
      case SplitBehavior::kRemoved:
        begin = match.end;
        break;
      case SplitBehavior::kIsolated:
      case SplitBehavior::kMergedWithPrevious:
        end_piece(match.end);
        break;
      case SplitBehavior::kMergedWithNext:
        break;
    }
  }
  end_piece(text.size());
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Create(std::span<const SplitStep> steps) {
  if (steps.size() > kMaxSteps) {
    return absl::InvalidArgumentError(absl::StrCat(
        steps.size(), " expressions in the pre-tokenizer, at most ", kMaxSteps, " are read"));
  }
  PreTokenizer pre_tokenizer;
  for (const SplitStep& step : steps) {
    absl::StatusOr<Regex> regex = Regex::Compile(step.expression, RegexDialect::kTokenizer);
    if (!regex.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("pre-tokenizer expression ",
                                                     pre_tokenizer.steps_.size(),
                                                     ": ",
                                                     regex.status().message()));
    }
    pre_tokenizer.steps_.push_back({*std::move(regex), step.behavior});
  }
  return pre_tokenizer;
}

absl::StatusOr<std::vector<absl::string_view>> PreTokenizer::Split(absl::string_view text) const {
  std::vector<absl::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  std::vector<Regex::Match> matches;
  int64_t regex_steps = Regex::StepsFor(text);
  for (const Step& step : steps_) {
    std::vector<absl::string_view> cut;
    for (const absl::string_view piece : pieces) {
      matches.clear();
      BB_RETURN_IF_ERROR(step.regex.FindAll(piece, &regex_steps, &matches));
      Cut(piece, matches, step.behavior, &cut);
    }
    pieces = std::move(cut);
  }
  return pieces;
}

}  // namespace bitbudget
