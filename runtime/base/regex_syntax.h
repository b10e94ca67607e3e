#ifndef BITBUDGET_RUNTIME_BASE_REGEX_SYNTAX_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_SYNTAX_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/char_set.h"
#include "runtime/base/regex.h"

// What the dialects have; everything else is refused. Names that are matched are printable ASCII on
// one line, so what differs only for line ends, accents or locales is no difference for them.
//
// construct                     kTokenizer     kPython        kEcmaScript
// \d \D \s \S \w \W \b \B       Unicode        ASCII          ASCII
// \n \r \t \f \xHH, \.          yes            yes            yes
// \p{...} \P{...}               yes            refused        refused
// \x{H...} \uHHHH \z            yes            refused        refused
// \A \Z                         yes            yes            refused
// other \letters and \digits    refused        refused        refused
// (...) (?:...) (?=) (?!)       yes            yes            yes
// (?<=) (?<!) of fixed width    yes            yes            refused
// (?>...) (?<name>...)          yes            yes            refused
// (?P<name>...) (?#...)         refused        yes            refused
// (?i:...), at the start (?i)   yes            yes, m s too   refused
// other (?...), (*...)          refused        refused        refused
// a++ a*+ a?+ a{2}+             possessive     possessive     refused
// {,n} ^* \b+ (?=a)? a**        refused        refused        refused
// another { outside a class     a literal      a literal      refused
// [[:alpha:]]                   refused        refused        yes
// [a[bc]]                       as [abc]       [ is a member  [ is a member
// [a&&b]                        refused        & is a member  & is a member
// []abc]                        ']' or abc     ']' or abc     an empty class, then abc]
// characters beyond ASCII       yes            refused        refused
//
// So what an engine may do for long or for ever on top of repetitions (\1, (?R), (?(1)...), \K,
// (?C), (*SKIP)) is in none. In kTokenizer \s is Unicode's White_Space (PCRE2's has U+180E, which
// is none since Unicode 6.3), ^ and $ are the ends of lines; in the others those of the text.
namespace bitbudget {

// A pattern as a tree.
struct RegexNode {
  enum class Kind : uint8_t { kSet, kSequence, kEither, kRepeat, kAtomic, kLook, kAt };
  enum class Greed : uint8_t { kGreedy, kLazy };
  enum class Place : uint8_t {
    kTextStart,
    kTextEnd,
    kTextEndOrLastLineEnd,
    kLineStart,
    kLineEnd,
    kWordEdge,
    kNoWordEdge
  };
  static constexpr int kUnbounded = -1;

  Kind kind = Kind::kSequence;
  std::vector<RegexNode> children = {};  // one but for kSequence and kEither
  int set = -1;                          // kSet: of ParsedRegex::sets
  int least = 0, most = 0;               // kRepeat
  Greed greed = Greed::kGreedy;
  Place place = Place::kTextStart;  // kAt
  bool negated = false;             // kLook
  bool behind = false;
  int width = 0;  // characters that `behind` goes back
};

struct ParsedRegex {
  RegexNode root;
  std::vector<CharSet> sets;
  int word_set = -1;  // of the characters of \w, where a place asks for them
};

// Errors: kInvalidArgument, what is refused and where.
absl::StatusOr<ParsedRegex> ParseRegex(absl::string_view pattern, RegexDialect dialect);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_SYNTAX_H_
