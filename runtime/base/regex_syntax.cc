#include "runtime/base/regex_syntax.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/regex_class.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"

namespace bitbudget {
namespace {

using Kind = RegexNode::Kind;
using Place = RegexNode::Place;

constexpr int kMaxDepth = 200;    // of groups in groups
constexpr int kMaxTimes = 65535;  // of a repetition

struct Quantifier {
  int least;
  int most;
  size_t end;  // behind it in the pattern
};

// The characters that it always takes; none when that depends on the text.
std::optional<int> WidthOf(const RegexNode& node) {
  switch (node.kind) {
    case Kind::kSet:
      return 1;
    case Kind::kAt:
    case Kind::kLook:
      return 0;
    case Kind::kAtomic:
      return WidthOf(node.children[0]);
    case Kind::kRepeat: {
      const std::optional<int> once = WidthOf(node.children[0]);
      if (!once.has_value() || node.least != node.most) return std::nullopt;
      return *once * node.least;
    }
    case Kind::kSequence:
    case Kind::kEither:
      break;
  }
  int sum = 0;
  for (size_t i = 0; i < node.children.size(); ++i) {
    const std::optional<int> width = WidthOf(node.children[i]);
    if (!width.has_value()) return std::nullopt;
    if (node.kind == Kind::kSequence) {
      sum += *width;
    } else if (i == 0) {
      sum = *width;
    } else if (sum != *width) {
      return std::nullopt;
    }
    if (sum > kMaxTimes) return std::nullopt;
  }
  return sum;
}

bool IsEmpty(const RegexNode& node) {
  return node.kind == Kind::kSequence && node.children.empty();
}

class Parser {
 public:
  Parser(absl::string_view pattern, RegexDialect dialect)
      : pattern_(pattern), dialect_(dialect), classes_(pattern, dialect) {}

  absl::StatusOr<ParsedRegex> Parse() {
    BB_ASSIGN_OR_RETURN(RegexNode root, Either());
    if (at_ < pattern_.size())
      return RegexRefused("a closing parenthesis without its opening", at_);
    ParsedRegex parsed;
    parsed.root = std::move(root);
    if (asks_for_words_) {
      BB_ASSIGN_OR_RETURN(parsed.word_set, classes_.AddSet("\\w", {}, 0));
    }
    parsed.sets = classes_.TakeSets();
    return parsed;
  }

 private:
  bool tokenizer() const { return dialect_ == RegexDialect::kTokenizer; }
  bool ecma() const { return dialect_ == RegexDialect::kEcmaScript; }
  absl::string_view Rest() const { return pattern_.substr(at_); }
  bool Consume(absl::string_view prefix) {
    if (!absl::StartsWith(Rest(), prefix)) return false;
    at_ += prefix.size();
    return true;
  }

  absl::Status NothingToRepeat() const { return RegexRefused("nothing to repeat", at_); }

  absl::StatusOr<RegexNode> Either() {
    RegexNode either{.kind = Kind::kEither};
    do {
      BB_ASSIGN_OR_RETURN(RegexNode branch, Sequence());
      either.children.push_back(std::move(branch));
    } while (Consume("|"));
    if (either.children.size() > 1) return either;
    return std::move(either.children[0]);
  }

  absl::StatusOr<RegexNode> Sequence() {
    RegexNode sequence{.kind = Kind::kSequence};
    while (at_ < pattern_.size() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      BB_ASSIGN_OR_RETURN(RegexNode item, Item());
      BB_ASSIGN_OR_RETURN(const std::optional<Quantifier> times, ReadQuantifier());
      if (times.has_value()) {
        if (item.kind == Kind::kAt || item.kind == Kind::kLook || flags_only_) {
          return NothingToRepeat();
        }
        BB_ASSIGN_OR_RETURN(item, Repeated(std::move(item), *times));
        BB_ASSIGN_OR_RETURN(const std::optional<Quantifier> more, ReadQuantifier());
        if (more.has_value()) return NothingToRepeat();
      }
      if (!IsEmpty(item)) sequence.children.push_back(std::move(item));
    }
    return sequence;
  }

  absl::StatusOr<RegexNode> Item() {
    flags_only_ = false;
    const size_t begin = at_;
    switch (pattern_[at_]) {
      case '(':
        return Group();
      case '[': {
        BB_ASSIGN_OR_RETURN(const std::string part, classes_.ReadClass(&at_));
        return SetOf(part, begin);
      }
      case '\\':
        return Escape();
      case '.':
        ++at_;
        return SetOf(".", begin);
      case '^':
        ++at_;
        return At(tokenizer() || multiline_ ? Place::kLineStart : Place::kTextStart);
      case '$':
        ++at_;
        return At(tokenizer() || multiline_ ? Place::kLineEnd : Place::kTextEnd);
      case '*':
      case '+':
      case '?':
        return NothingToRepeat();
      case '{': {
        BB_ASSIGN_OR_RETURN(const std::optional<Quantifier> times, ReadQuantifier());
        if (times.has_value()) return NothingToRepeat();
        if (ecma()) return RegexRefused("a '{' that repeats nothing needs a backslash", at_);
        break;
      }
      default:
        break;
    }
    BB_ASSIGN_OR_RETURN(const uint32_t code, classes_.ReadCharacter(&at_));
    return CharacterNode(code, begin);
  }

  static RegexNode At(Place place) { return {.kind = Kind::kAt, .place = place}; }

  absl::StatusOr<RegexNode> SetOf(const std::string& part, size_t begin) {
    RegexNode node{.kind = Kind::kSet};
    BB_ASSIGN_OR_RETURN(node.set, classes_.AddSet(part, options_, begin));
    return node;
  }

  absl::StatusOr<RegexNode> CharacterNode(uint32_t code, size_t begin) {
    const bool has_case = code >= 0x80 || absl::ascii_isalpha(static_cast<unsigned char>(code));
    if (options_.any_case && has_case) return SetOf(RegexClasses::Spelled(code), begin);
    return RegexNode{.kind = Kind::kSet, .set = classes_.AddCharacter(code)};
  }

  absl::StatusOr<RegexNode> Escape() {
    const size_t begin = at_;
    const absl::string_view pair = Rest().substr(0, 2);
    const auto place = [&](Place where) {
      at_ += 2;
      return At(where);
    };
    if (pair == "\\b" || pair == "\\B") {
      asks_for_words_ = true;
      return place(pair == "\\b" ? Place::kWordEdge : Place::kNoWordEdge);
    }
    if (!ecma()) {
      if (pair == "\\A") return place(Place::kTextStart);
      if (pair == "\\Z") {
        return place(tokenizer() ? Place::kTextEndOrLastLineEnd : Place::kTextEnd);
      }
      if (pair == "\\z" && tokenizer()) return place(Place::kTextEnd);
    }
    BB_ASSIGN_OR_RETURN(const RegexClasses::Escaped escaped,
                        classes_.ReadEscape(/*in_class=*/false, &at_));
    if (!escaped.set.empty()) return SetOf(escaped.set, begin);
    return CharacterNode(escaped.code, begin);
  }

  absl::StatusOr<RegexNode> Group() {
    const size_t begin = at_++;
    if (++depth_ > kMaxDepth) return RegexRefused("parentheses nested too deeply", begin);
    if (absl::StartsWith(Rest(), "*")) {
      return RegexRefused("verbs ((*...)) are not supported", begin);
    }
    const CharSet::Options outer = options_;
    const bool outer_multiline = multiline_;
    RegexNode look{.kind = Kind::kLook};
    bool is_look = false;
    bool is_atomic = false;
    if (Consume("?")) {
      const bool behind = !ecma() && Rest().size() > 1 && Rest()[0] == '<' &&
                          (Rest()[1] == '=' || Rest()[1] == '!');
      if (behind || absl::StartsWith(Rest(), "=") || absl::StartsWith(Rest(), "!")) {
        is_look = true;
        look.behind = behind;
        at_ += behind ? 1 : 0;
        look.negated = pattern_[at_++] == '!';
      } else if (!ecma() && Consume(">")) {
        is_atomic = true;
      } else if (!ecma() && dialect_ == RegexDialect::kPython && Consume("#")) {
        const size_t end = pattern_.find(')', at_);
        if (end == absl::string_view::npos) return RegexRefused("no closing parenthesis", begin);
        at_ = end + 1;
        return Nothing();
      } else if (!Consume(":")) {
        BB_ASSIGN_OR_RETURN(const bool flags_only, NameOrFlags(begin));
        if (flags_only) return Nothing();
      }
    }
    BB_ASSIGN_OR_RETURN(RegexNode body, Either());
    if (!Consume(")")) return RegexRefused("no closing parenthesis", begin);
    --depth_;
    flags_only_ = false;
    options_ = outer;
    multiline_ = outer_multiline;
    if (is_look && look.behind) return Behind(std::move(look), std::move(body), begin);
    if (!is_look && !is_atomic) return body;
    RegexNode node = is_look ? std::move(look) : RegexNode{.kind = Kind::kAtomic};
    node.children.push_back(std::move(body));
    return node;
  }

  // A comment or flags, which cannot be repeated.
  RegexNode Nothing() {
    --depth_;
    flags_only_ = true;
    return {.kind = Kind::kSequence};
  }

  // What follows "(?" in a group with a name or flags. True for flags of the whole pattern, which
  // are read with their closing parenthesis.
  absl::StatusOr<bool> NameOrFlags(size_t begin) {
    const auto refused = [&] {
      return RegexRefused(WhyNoRegexGroup(pattern_.substr(begin + 2)), begin);
    };
    if (ecma()) return refused();
    if (Consume("<") || (!tokenizer() && Consume("P<"))) {
      while (at_ < pattern_.size() &&
             (absl::ascii_isalnum(pattern_[at_]) || pattern_[at_] == '_')) {
        ++at_;
      }
      if (Consume(">")) return false;
      return refused();
    }
    // Ruby, and so Oniguruma, means something else by m, and has no s.
    const absl::string_view known = tokenizer() ? "i" : "ims";
    const size_t first = at_;
    for (; at_ < pattern_.size() && absl::StrContains(known, pattern_[at_]); ++at_) {
      options_.any_case |= pattern_[at_] == 'i';
      options_.dot_all |= pattern_[at_] == 's';
      multiline_ |= pattern_[at_] == 'm';
    }
    if (at_ == first) return refused();
    if (Consume(":")) return false;
    // In the middle of a pattern libraries differ in what such flags are for.
    if (begin == flags_end_ && Consume(")")) {
      flags_end_ = at_;
      return true;
    }
    return refused();
  }

  // Of alternatives of different widths each is looked for on its own.
  absl::StatusOr<RegexNode> Behind(RegexNode look, RegexNode body, size_t begin) {
    std::vector<RegexNode> branches;
    if (tokenizer() && body.kind == Kind::kEither) {
      branches = std::move(body.children);
    } else {
      branches.push_back(std::move(body));
    }
    RegexNode all{.kind = look.negated ? Kind::kSequence : Kind::kEither};
    for (RegexNode& branch : branches) {
      const std::optional<int> width = WidthOf(branch);
      if (!width.has_value()) return RegexRefused("a look behind needs a fixed width", begin);
      RegexNode one = look;
      one.width = *width;
      one.children.push_back(std::move(branch));
      all.children.push_back(std::move(one));
    }
    if (all.children.size() == 1) return std::move(all.children[0]);
    RegexNode joined{.kind = Kind::kLook};  // what looks around cannot be repeated
    joined.children.push_back(std::move(all));
    return joined;
  }

  // None, and nothing is consumed, where no quantifier stands.
  absl::StatusOr<std::optional<Quantifier>> ReadQuantifier() const {
    if (at_ == pattern_.size()) return std::nullopt;
    switch (pattern_[at_]) {
      case '*':
        return Quantifier{0, RegexNode::kUnbounded, at_ + 1};
      case '+':
        return Quantifier{1, RegexNode::kUnbounded, at_ + 1};
      case '?':
        return Quantifier{0, 1, at_ + 1};
      case '{':
        break;
      default:
        return std::nullopt;
    }
    size_t end = at_ + 1;
    const auto number = [&]() -> std::optional<int> {
      const size_t first = end;
      int value = 0;
      for (; end < pattern_.size() && absl::ascii_isdigit(pattern_[end]); ++end) {
        value = std::min(10 * value + (pattern_[end] - '0'), kMaxTimes + 1);
      }
      if (end == first) return std::nullopt;
      return value;
    };
    const std::optional<int> least = number();
    const bool comma = end < pattern_.size() && pattern_[end] == ',';
    if (comma) ++end;
    const std::optional<int> most = comma ? number() : least;
    if (end == pattern_.size() || pattern_[end] != '}') return std::nullopt;
    if (!least.has_value()) {
      if (most.has_value()) return RegexRefused("write {0,n} for {,n}", at_);
      return std::nullopt;
    }
    if (std::max(*least, most.value_or(0)) > kMaxTimes) {
      return RegexRefused(absl::StrCat("a repetition of more than ", kMaxTimes), at_);
    }
    if (most.has_value() && *most < *least) return RegexRefused("{n,m} out of order", at_);
    return Quantifier{*least, most.value_or(RegexNode::kUnbounded), end + 1};
  }

  absl::StatusOr<RegexNode> Repeated(RegexNode item, const Quantifier& times) {
    at_ = times.end;
    if (times.most == 0) item = {.kind = Kind::kSequence};
    const bool empty = IsEmpty(item);
    RegexNode repeat{.kind = Kind::kRepeat, .least = times.least, .most = times.most};
    repeat.children.push_back(std::move(item));
    if (empty) repeat = {.kind = Kind::kSequence};  // it needs no instruction, however often
    if (Consume("?")) {
      repeat.greed = RegexNode::Greed::kLazy;
    } else if (absl::StartsWith(Rest(), "+")) {
      if (ecma()) return RegexRefused("possessive repetitions are not supported", at_);
      ++at_;
      if (empty) return repeat;
      RegexNode atomic{.kind = Kind::kAtomic};
      atomic.children.push_back(std::move(repeat));
      return atomic;
    }
    return repeat;
  }

  const absl::string_view pattern_;
  const RegexDialect dialect_;
  RegexClasses classes_;
  size_t at_ = 0;
  int depth_ = 0;
  size_t flags_end_ = 0;  // up to here the pattern is flags of all of it
  CharSet::Options options_;
  bool multiline_ = false;
  bool flags_only_ = false;  // the last item was one of Nothing()
  bool asks_for_words_ = false;
};

}  // namespace

absl::StatusOr<ParsedRegex> ParseRegex(absl::string_view pattern, RegexDialect dialect) {
  const std::string valid = ReplaceInvalidUtf8(pattern);
  return Parser(valid, dialect).Parse();
}

}  // namespace bitbudget
