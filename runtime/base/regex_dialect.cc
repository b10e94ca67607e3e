#include "runtime/base/regex_dialect.h"

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"

namespace bitbudget {
namespace {

absl::Status Refused(absl::string_view what, size_t at) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (at byte ", at, ")"));
}

// PCRE2's \s holds U+180E, which has not been White_Space since Unicode 6.3. So \s is spelled out.
constexpr absl::string_view kWhiteSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";

absl::StatusOr<std::string> TranslateTokenizer(absl::string_view pattern) {
  if (const size_t at = pattern.find("&&"); at != absl::string_view::npos) {
    return Refused("intersections of classes (&&) are not supported", at);
  }
  const std::string well_formed = ReplaceInvalidUtf8(pattern);
  const absl::string_view in = well_formed;
  std::string out;
  bool in_class = false;
  bool quoted = false;  // between \Q and \E
  for (size_t i = 0; i < in.size(); ++i) {
    const absl::string_view pair = in.substr(i, 2);
    if (quoted) {
      quoted = pair != "\\E";
      out += in[i];
      continue;
    }
    if (in[i] == '\\' && pair.size() == 2) {
      quoted = pair == "\\Q";
      if (pair == "\\s") {
        absl::StrAppend(&out, in_class ? "" : "[", kWhiteSpace, in_class ? "" : "]");
      } else if (pair == "\\S" && !in_class) {
        absl::StrAppend(&out, "[^", kWhiteSpace, "]");
      } else {
        absl::StrAppend(&out, pair);
      }
      ++i;
      continue;
    }
    if (!in_class && pair == "(*") return Refused("(*...) is not supported", i);
    if (!in_class && in[i] == '[') {
      in_class = true;
      // A bracket that stands first in a class is a member of it.
      out += '[';
      if (in.substr(i + 1, 1) == "^") out += in[++i];
      if (in.substr(i + 1, 1) == "]") out += in[++i];
      continue;
    }
    if (in_class && in[i] == ']') in_class = false;
    out += in[i];
  }
  return out;
}

// Walks over a pattern for names and refuses what the header lists; what is left means the same to
// PCRE2. Grammar errors that PCRE2 reports itself (an open bracket) are left to it.
class NamePatternCheck {
 public:
  NamePatternCheck(absl::string_view pattern, RegexDialect dialect)
      : pattern_(pattern), ecma_(dialect == RegexDialect::kEcmaScript) {}

  absl::Status Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (!absl::ascii_isprint(c)) return Refused("names are printable ASCII", at_);
      switch (c) {
        case '\\':
          BB_RETURN_IF_ERROR(Escape(/*in_class=*/false));
          break;
        case '[':
          BB_RETURN_IF_ERROR(Class());
          break;
        case '(':
          BB_RETURN_IF_ERROR(OpenGroup());
          break;
        case ')':
          repeatable_ = !groups_.empty() && groups_.back() == Group::kItem;
          if (!groups_.empty()) groups_.pop_back();
          ++at_;
          break;
        case '*':
        case '+':
        case '?':
          BB_RETURN_IF_ERROR(Repetition(1));
          break;
        case '{':
          BB_RETURN_IF_ERROR(Brace());
          break;
        default:
          repeatable_ = c != '^' && c != '$' && c != '|';
          ++at_;
      }
    }
    return absl::OkStatus();
  }

 private:
  enum class Group : uint8_t { kItem, kAssertion };

  absl::string_view Rest() const { return pattern_.substr(at_); }

  absl::Status Escape(bool in_class) {
    const size_t begin = at_;
    at_ += 2;
    if (at_ > pattern_.size()) return Refused("a backslash at the end", begin);
    const char c = pattern_[begin + 1];
    if (!absl::ascii_isprint(c)) return Refused("names are printable ASCII", begin + 1);
    repeatable_ = true;
    if (!absl::ascii_isalnum(c)) return absl::OkStatus();
    if (absl::StrContains("dDsSwWnrtf", c)) return absl::OkStatus();
    if (c == 'x') {
      if (at_ + 2 > pattern_.size() || !absl::ascii_isxdigit(pattern_[at_]) ||
          !absl::ascii_isxdigit(pattern_[at_ + 1])) {
        return Refused("\\x needs two hexadecimal digits", begin);
      }
      at_ += 2;
      return absl::OkStatus();
    }
    if (!in_class) {
      repeatable_ = absl::ascii_isdigit(c);
      if (c == 'b' || c == 'B') return absl::OkStatus();
      if (!ecma_ && (c == 'A' || c == 'Z')) return absl::OkStatus();
      const bool more_digits = at_ < pattern_.size() && absl::ascii_isdigit(pattern_[at_]);
      if (!ecma_ && '1' <= c && c <= '9' && !more_digits) return absl::OkStatus();
    }
    return Refused(absl::StrCat("\\", absl::string_view(&c, 1), " is not supported"), begin);
  }

  absl::Status Class() {
    const size_t begin = at_++;
    if (absl::StartsWith(Rest(), "^")) ++at_;
    // Python takes a bracket that stands first for a member, ECMAScript for the end.
    if (!ecma_ && absl::StartsWith(Rest(), "]")) ++at_;
    bool is_set = false;  // the last item is one that cannot begin or end a range
    bool in_range = false;
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      const size_t item = at_;
      const char c = pattern_[at_];
      if (!absl::ascii_isprint(c)) return Refused("names are printable ASCII", at_);
      const bool begins_range = c == '-' && item > begin + 1 && item + 1 < pattern_.size() &&
                                pattern_[item + 1] != ']' && !in_range;
      if (begins_range) {
        if (is_set) return Refused("a range that begins with a class", item);
        in_range = true;
        ++at_;
        continue;
      }
      is_set = false;
      if (c == '\\') {
        BB_RETURN_IF_ERROR(Escape(/*in_class=*/true));
        is_set = absl::StrContains("dDsSwW", pattern_[item + 1]);
      } else if (c == '[' && item + 1 < pattern_.size() &&
                 absl::StrContains(":.=", pattern_[item + 1])) {
        BB_RETURN_IF_ERROR(NamedClass());
        is_set = true;
      } else {
        ++at_;
      }
      if (in_range && is_set) return Refused("a range that ends with a class", item);
      in_range = false;
    }
    if (at_ < pattern_.size()) ++at_;
    repeatable_ = true;
    return absl::OkStatus();
  }

  absl::Status NamedClass() {
    const size_t end = Rest().find(":]");
    if (ecma_ && end != absl::string_view::npos) {
      const absl::string_view name = absl::StripPrefix(Rest().substr(0, end), "[:");
      for (const absl::string_view known : {"alnum",
                                            "alpha",
                                            "blank",
                                            "cntrl",
                                            "digit",
                                            "graph",
                                            "lower",
                                            "print",
                                            "punct",
                                            "space",
                                            "upper",
                                            "xdigit"}) {
        if (name == known) {
          at_ += end + 2;
          return absl::OkStatus();
        }
      }
    }
    return Refused("[: [. and [= in a class are not supported", at_);
  }

  absl::Status OpenGroup() {
    const size_t begin = at_++;
    repeatable_ = false;
    Group group = Group::kItem;
    if (absl::StartsWith(Rest(), "*")) return Refused("(*...) is not supported", begin);
    if (absl::StartsWith(Rest(), "?")) {
      BB_RETURN_IF_ERROR(Prefix(begin, &group));
    }
    groups_.push_back(group);
    return absl::OkStatus();
  }

  // What stands between "(" and the group's pattern. Flags and comments have none.
  absl::Status Prefix(size_t begin, Group* group) {
    const auto consume = [&](absl::string_view prefix) {
      if (!absl::StartsWith(Rest(), prefix)) return false;
      at_ += prefix.size();
      return true;
    };
    if (consume("?:")) return absl::OkStatus();
    *group = Group::kAssertion;
    if (consume("?=") || consume("?!")) return absl::OkStatus();
    if (!ecma_) {
      if (consume("?<=") || consume("?<!")) return absl::OkStatus();
      *group = Group::kItem;
      if (consume("?>")) return absl::OkStatus();
      if (consume("?P<") || consume("?<")) {
        while (at_ < pattern_.size() &&
               (absl::ascii_isalnum(pattern_[at_]) || pattern_[at_] == '_')) {
          ++at_;
        }
        if (consume(">")) return absl::OkStatus();
      } else if (consume("?#")) {
        *group = Group::kAssertion;
        while (at_ < pattern_.size() && pattern_[at_] != ')') ++at_;
        return absl::OkStatus();
      } else if (consume("?")) {
        while (at_ < pattern_.size() && absl::StrContains("ims", pattern_[at_])) ++at_;
        if (consume(":")) return absl::OkStatus();
        *group = Group::kAssertion;
        if (absl::StartsWith(Rest(), ")") && at_ > begin + 2) return absl::OkStatus();
      }
    }
    return Refused("this kind of group is not supported", begin);
  }

  // A repetition whose first `size` characters have been recognised, and what makes it lazy.
  absl::Status Repetition(size_t size) {
    if (!repeatable_) return Refused("nothing to repeat", at_);
    at_ += size;
    repeatable_ = false;
    if (absl::StartsWith(Rest(), "?")) {
      ++at_;
    } else if (absl::StartsWith(Rest(), "+")) {
      if (ecma_) return Refused("possessive repetitions are not supported", at_);
      ++at_;
    }
    return absl::OkStatus();
  }

  absl::Status Brace() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t first = end;
      while (end < pattern_.size() && absl::ascii_isdigit(pattern_[end])) ++end;
      return end > first;
    };
    const bool least = digits();
    const bool comma = end < pattern_.size() && pattern_[end] == ',';
    if (comma) ++end;
    const bool most = comma && digits();
    if (end < pattern_.size() && pattern_[end] == '}') {
      if (least) return Repetition(end + 1 - at_);
      if (most) return Refused("write {0,n} for {,n}", at_);
    }
    if (ecma_) return Refused("a '{' that repeats nothing needs a backslash", at_);
    repeatable_ = true;
    ++at_;
    return absl::OkStatus();
  }

  const absl::string_view pattern_;
  const bool ecma_;
  size_t at_ = 0;
  bool repeatable_ = false;  // whether a repetition may follow
  std::vector<Group> groups_;
};

}  // namespace

absl::StatusOr<std::string> TranslateForPcre2(absl::string_view pattern, RegexDialect dialect) {
  if (dialect == RegexDialect::kTokenizer) return TranslateTokenizer(pattern);
  BB_RETURN_IF_ERROR(NamePatternCheck(pattern, dialect).Run());
  return std::string(pattern);
}

}  // namespace bitbudget
