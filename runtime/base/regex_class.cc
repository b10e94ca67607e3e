#include "runtime/base/regex_class.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"

namespace bitbudget {
namespace {

// PCRE2's \s holds U+180E, which has not been White_Space since Unicode 6.3. So \s is spelled out.
constexpr absl::string_view kWhiteSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
constexpr absl::string_view kNoWhiteSpaceInClass = "\\S\\x{180e}";

constexpr size_t kMaxClasses = 1000;  // with sets of Unicode's characters
constexpr uint32_t kLastCode = 0x10ffff;

std::string EscapeText(char c) { return absl::StrCat("\\", absl::string_view(&c, 1)); }

}  // namespace

absl::Status RegexRefused(absl::string_view what, size_t at) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (at byte ", at, ")"));
}

const char* WhyNoRegexGroup(absl::string_view prefix) {
  const char first = prefix.empty() ? '\0' : prefix.front();
  if (absl::ascii_isdigit(first) || absl::StrContains("R&+-", first) ||
      absl::StartsWith(prefix, "P>")) {
    return "calls of a group ((?R), (?1), (?&name)) are not supported";
  }
  if (first == '(') return "conditions ((?(...)...)) are not supported";
  if (first == 'C') return "callouts ((?C)) are not supported";
  if (absl::StartsWith(prefix, "P=")) return "references to groups are not supported";
  return "this kind of group is not supported";
}

std::string RegexClasses::Spelled(uint32_t code) {
  return absl::StrCat("\\x{", absl::Hex(code), "}");
}

absl::StatusOr<int> RegexClasses::AddSet(const std::string& part,
                                         CharSet::Options options,
                                         size_t at) {
  options.unicode = tokenizer();
  const std::string key =
      absl::StrCat(part, options.any_case ? " i" : " -", options.dot_all ? "s" : "-");
  const auto [found, is_new] = known_.try_emplace(key, static_cast<int>(sets_.size()));
  if (!is_new) return found->second;
  if (known_.size() > kMaxClasses) return RegexRefused("too many different classes", at);
  absl::StatusOr<CharSet> set = CharSet::Compile(part, options);
  if (!set.ok()) return RegexRefused(set.status().message(), at);
  sets_.push_back(*std::move(set));
  return found->second;
}

int RegexClasses::AddCharacter(uint32_t code) {
  // A key that no set has.
  const auto [found, is_new] =
      known_.try_emplace(absl::StrCat("=", code), static_cast<int>(sets_.size()));
  if (is_new) sets_.push_back(CharSet::Of(code));
  return found->second;
}

absl::StatusOr<uint32_t> RegexClasses::ReadCharacter(size_t* at) const {
  const Character character = CharacterAt(pattern_.data() + *at);
  const bool printable =
      character.code < 0x80 && absl::ascii_isprint(static_cast<unsigned char>(character.code));
  if (!tokenizer() && !printable) return RegexRefused("names are printable ASCII", *at);
  *at += character.size;
  return character.code;
}

// What follows \x and \u, at `at`.
absl::StatusOr<uint32_t> RegexClasses::ReadHex(size_t begin, size_t* at) const {
  const bool braces =
      tokenizer() && pattern_[*at - 1] == 'x' && absl::StartsWith(pattern_.substr(*at), "{");
  if (braces) ++*at;
  const size_t most = braces ? 6 : pattern_[*at - 1] == 'u' ? 4 : 2;
  size_t digits = 0;
  uint32_t code = 0;
  while (digits < most && *at < pattern_.size() && absl::ascii_isxdigit(pattern_[*at])) {
    const char c = absl::ascii_tolower(pattern_[(*at)++]);
    code = 16 * code + static_cast<uint32_t>(absl::ascii_isdigit(c) ? c - '0' : c - 'a' + 10);
    ++digits;
  }
  if (braces) {
    if (digits == 0 || !absl::StartsWith(pattern_.substr(*at), "}")) {
      return RegexRefused("\\x{ needs hexadecimal digits and }", begin);
    }
    ++*at;
  } else if (digits < most) {
    return RegexRefused(
        most == 2 ? "\\x needs two hexadecimal digits" : "\\u needs four hexadecimal digits",
        begin);
  }
  if (code > kLastCode || (0xd800 <= code && code < 0xe000)) {
    return RegexRefused("this number is no character", begin);
  }
  // Oniguruma takes \x80 for a byte.
  if (tokenizer() && most == 2 && code >= 0x80) {
    return RegexRefused("write \\x{hh} for \\xhh beyond 7f", begin);
  }
  return code;
}

absl::StatusOr<std::string> RegexClasses::ReadProperty(size_t begin, size_t* at) const {
  const size_t end = pattern_.find('}', *at);
  if (!absl::StartsWith(pattern_.substr(*at), "{") || end == absl::string_view::npos) {
    return RegexRefused("\\p needs a name in braces", begin);
  }
  const absl::string_view name = pattern_.substr(*at + 1, end - *at - 1);
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("_^=: -", c);
  });
  if (!plain) return RegexRefused("\\p needs a name in braces", begin);
  *at = end + 1;
  return std::string(pattern_.substr(begin, *at - begin));
}

absl::StatusOr<RegexClasses::Escaped> RegexClasses::ReadEscape(bool in_class, size_t* at) const {
  const size_t begin = *at;
  if (begin + 1 == pattern_.size()) return RegexRefused("a backslash at the end", begin);
  ++*at;
  const char c = pattern_[*at];
  if (!absl::ascii_isalnum(c)) {
    BB_ASSIGN_OR_RETURN(const uint32_t code, ReadCharacter(at));
    return Escaped{code};
  }
  ++*at;
  switch (c) {
    case 'n':
      return Escaped{'\n'};
    case 'r':
      return Escaped{'\r'};
    case 't':
      return Escaped{'\t'};
    case 'f':
      return Escaped{'\f'};
    case 'd':
    case 'D':
    case 'w':
    case 'W':
      return Escaped{0, EscapeText(c)};
    case 's':
      if (!tokenizer()) return Escaped{0, EscapeText(c)};
      return Escaped{0, in_class ? std::string(kWhiteSpace) : absl::StrCat("[", kWhiteSpace, "]")};
    case 'S':
      if (!tokenizer()) return Escaped{0, EscapeText(c)};
      return Escaped{
          0, in_class ? std::string(kNoWhiteSpaceInClass) : absl::StrCat("[^", kWhiteSpace, "]")};
    case 'x': {
      BB_ASSIGN_OR_RETURN(const uint32_t code, ReadHex(begin, at));
      return Escaped{code};
    }
    default:
      break;
  }
  if (tokenizer() && c == 'u') {
    BB_ASSIGN_OR_RETURN(const uint32_t code, ReadHex(begin, at));
    return Escaped{code};
  }
  if (tokenizer() && (c == 'p' || c == 'P')) {
    BB_ASSIGN_OR_RETURN(std::string property, ReadProperty(begin, at));
    return Escaped{0, std::move(property)};
  }
  if (absl::ascii_isdigit(c) || c == 'k' || c == 'g') {
    return RegexRefused(
        absl::StrCat(EscapeText(c), ": references to groups and octal numbers are not supported"),
        begin);
  }
  return RegexRefused(absl::StrCat(EscapeText(c), " is not supported"), begin);
}

// One member, or a nested class's.
absl::StatusOr<RegexClasses::Escaped> RegexClasses::ReadMember(size_t* at) const {
  const char c = pattern_[*at];
  if (c == '\\') return ReadEscape(/*in_class=*/true, at);
  const absl::string_view pair = pattern_.substr(*at, 2);
  if (pair == "[:" || pair == "[." || pair == "[=" || (tokenizer() && c == '[')) {
    BB_ASSIGN_OR_RETURN(std::string named, ReadNamedClass(at));
    return Escaped{0, std::move(named)};
  }
  if (tokenizer() && pair == "&&") {
    return RegexRefused("intersections of classes (&&) are not supported", *at);
  }
  BB_ASSIGN_OR_RETURN(const uint32_t code, ReadCharacter(at));
  return Escaped{code};
}

absl::StatusOr<std::string> RegexClasses::ReadClass(size_t* at) const {
  const size_t begin = (*at)++;
  std::string out = "[";
  const auto next_is = [&](absl::string_view text) {
    return absl::StartsWith(pattern_.substr(*at), text);
  };
  if (next_is("^")) {
    out += '^';
    ++*at;
  }
  absl::flat_hash_set<std::string> listed;  // PCRE2 would ask for each again
  int depth = 1;
  // ECMAScript takes a bracket that stands first for the end, the others for a member.
  bool bracket_is_member = !ecma();
  while (true) {
    if (*at == pattern_.size()) return RegexRefused("a class without its closing ]", begin);
    const size_t item = *at;
    if (next_is("]") && !bracket_is_member) {
      ++*at;
      if (--depth == 0) return out + "]";
      continue;
    }
    bracket_is_member = false;
    // Oniguruma has classes in classes: [a[bc]] is [abc].
    if (tokenizer() && next_is("[") && !next_is("[:")) {
      ++*at;
      if (next_is("^")) return RegexRefused("[^...] in a class is not supported", item);
      ++depth;
      bracket_is_member = true;
      continue;
    }
    BB_ASSIGN_OR_RETURN(const Escaped first, ReadMember(at));
    const bool range = next_is("-") && *at + 1 < pattern_.size() && pattern_[*at + 1] != ']';
    if (!range || (tokenizer() && !first.set.empty())) {
      const std::string member = first.set.empty() ? Spelled(first.code) : first.set;
      if (listed.insert(member).second) out += member;
      continue;
    }
    if (!first.set.empty()) return RegexRefused("a range that begins with a class", item);
    ++*at;
    BB_ASSIGN_OR_RETURN(const Escaped last, ReadMember(at));
    if (!last.set.empty()) return RegexRefused("a range that ends with a class", item);
    if (last.code < first.code) return RegexRefused("a range out of order", item);
    absl::StrAppend(&out, Spelled(first.code), "-", Spelled(last.code));
  }
}

absl::StatusOr<std::string> RegexClasses::ReadNamedClass(size_t* at) const {
  const absl::string_view rest = pattern_.substr(*at);
  if (ecma()) {
    for (const absl::string_view known : {"[:alnum:]",
                                          "[:alpha:]",
                                          "[:blank:]",
                                          "[:cntrl:]",
                                          "[:digit:]",
                                          "[:graph:]",
                                          "[:lower:]",
                                          "[:print:]",
                                          "[:punct:]",
                                          "[:space:]",
                                          "[:upper:]",
                                          "[:xdigit:]"}) {
      if (!absl::StartsWith(rest, known)) continue;
      *at += known.size();
      return std::string(known);
    }
  }
  return RegexRefused("[: [. and [= in a class are not supported", *at);
}

}  // namespace bitbudget
