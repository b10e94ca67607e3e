#ifndef BITBUDGET_RUNTIME_BASE_REGEX_DIALECT_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_DIALECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/regex.h"

// The difference between PCRE2 and the dialects. Names that are matched are printable ASCII on one
// line, so what differs only for line ends, accents or locales is no difference here.
//
// construct                     kPython                  kEcmaScript
// \d \D \s \S \w \W \b \B       as PCRE2                 as PCRE2
// \n \r \t \f \xHH, \.          as PCRE2                 as PCRE2
// \A \Z, \1 to \9               as PCRE2                 refused
// other \letters, \0, \10       refused                  refused
// (...) (?:...) (?=) (?!)       as PCRE2                 as PCRE2
// (?<=) (?<!) (?>) (?P<name>)   as PCRE2                 refused
// (?#...) (?i) (?m) (?s)        as PCRE2                 refused
// other (?...), (*...)          refused                  refused
// a++ a*+ a?+ a{2}+             as PCRE2 (possessive)    refused
// {,n}                          refused                  refused
// another { outside a class     a literal, as PCRE2      refused
// ^* \b+ (?=a)? a**             refused                  refused
// [[:alpha:]]                   refused                  as PCRE2
// []abc]                        as PCRE2: ']' or abc     an empty class, then abc]
// characters beyond ASCII       refused                  refused
//
// kTokenizer refuses (*...) and && (Oniguruma's intersection of classes) and spells \s out.
namespace bitbudget {

// The pattern as PCRE2 is to read it. kInvalidArgument: what is refused and where.
absl::StatusOr<std::string> TranslateForPcre2(absl::string_view pattern, RegexDialect dialect);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_DIALECT_H_
