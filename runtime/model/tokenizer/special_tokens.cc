#include "runtime/model/tokenizer/special_tokens.h"

#include <algorithm>
#include <functional>

#include "runtime/base/utf8.h"

namespace bitbudget {

void SpecialTokens::Add(absl::string_view text, const Token& token) {
  if (!tokens_.emplace(std::string(text), token).second) return;
  std::vector<size_t>& sizes = sizes_[static_cast<unsigned char>(text.front())];
  const auto place = std::lower_bound(sizes.begin(), sizes.end(), text.size(), std::greater<>());
  if (place == sizes.end() || *place != text.size()) sizes.insert(place, text.size());
}

const SpecialTokens::Token* SpecialTokens::Longest(absl::string_view text,
                                                   bool parse_special,
                                                   size_t* size) const {
  for (const size_t candidate : sizes_[static_cast<unsigned char>(text.front())]) {
    if (candidate > text.size()) continue;
    const auto found = tokens_.find(text.substr(0, candidate));
    if (found == tokens_.end() || !(found->second.always || parse_special)) continue;
    *size = candidate;
    return &found->second;
  }
  return nullptr;
}

std::vector<SpecialTokens::Part> SpecialTokens::Split(absl::string_view text,
                                                      bool parse_special) const {
  std::vector<Part> parts;
  size_t begin = 0;  // of the text since the last token
  for (size_t i = 0; i < text.size();) {
    size_t size = 0;
    const Token* const token = Longest(text.substr(i), parse_special, &size);
    if (token == nullptr) {
      ++i;
      continue;
    }
    absl::string_view before = text.substr(begin, i - begin);
    if (token->left_strip) before.remove_suffix(TrailingWhitespace(before));
    if (!before.empty()) parts.push_back({-1, before});
    parts.push_back({token->id, text.substr(i, size)});
    i += size;
    if (token->right_strip) i += LeadingWhitespace(text.substr(i));
    begin = i;
  }
  if (begin < text.size()) parts.push_back({-1, text.substr(begin)});
  return parts;
}

}  // namespace bitbudget
