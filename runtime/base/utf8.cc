#include "runtime/base/utf8.h"

#include <glog/logging.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace bitbudget {
namespace {

bool IsWhitespace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// Bytes of the well-formed character at the start of the text, 0 if there is none.
size_t WellFormedLength(absl::string_view text) {
  const size_t length = Utf8Length(text.front());
  if (length > text.size()) return 0;
  if (length == 1) return static_cast<unsigned char>(text.front()) < 0x80 ? 1 : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  const uint32_t c = CharacterAt(text.data()).code;
  const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};  // else it is overlong
  if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
  // 0xf8 and above announce lengths that do not exist, but have the upper bits of 0xf0.
  return static_cast<unsigned char>(text.front()) < 0xf8 ? length : 0;
}

}  // namespace

size_t Utf8Length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  if (byte < 0xc0) return 1;
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}

std::string ReplaceInvalidUtf8(absl::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = WellFormedLength(text);
    if (length == 0) {
      result += "\xef\xbf\xbd";
    } else {
      result.append(text.data(), length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

size_t LeadingWhitespace(absl::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const absl::string_view character = text.substr(end, Utf8Length(text[end]));
    if (!IsWhitespace(CharacterAt(character.data()).code)) break;
    end += character.size();
  }
  return end;
}

size_t TrailingWhitespace(absl::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t at = begin - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    if (!IsWhitespace(CharacterAt(text.data() + at).code)) break;
    begin = at;
  }
  return text.size() - begin;
}

namespace {

// The text with the marks behind each character in the order that NFC has. utf8proc orders them
// itself, but in a time that grows with the square of their number; in order they cost it nothing.
std::string WithMarksInOrder(absl::string_view text) {
  struct Mark {
    int order;
    absl::string_view bytes;
  };
  std::string ordered;
  ordered.reserve(text.size());
  std::vector<Mark> marks;
  const auto end_marks = [&] {
    std::stable_sort(
        marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.order < b.order; });
    for (const Mark& mark : marks) ordered.append(mark.bytes.data(), mark.bytes.size());
    marks.clear();
  };
  while (!text.empty()) {
    const Character character = CharacterAt(text.data());
    const absl::string_view bytes = text.substr(0, character.size);
    text.remove_prefix(bytes.size());
    const int order =
        utf8proc_get_property(static_cast<utf8proc_int32_t>(character.code))->combining_class;
    if (order != 0) {
      marks.push_back({order, bytes});
      continue;
    }
    end_marks();
    ordered.append(bytes.data(), bytes.size());
  }
  end_marks();
  return ordered;
}

}  // namespace

std::string ToNfc(absl::string_view original) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::all_of(original.begin(), original.end(), is_ascii)) return std::string(original);
  const std::string text = WithMarksInOrder(original);
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()),
                   &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  CHECK_GE(size, 0) << "utf8proc_map: " << utf8proc_errmsg(size);
  std::string result(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
  std::free(composed);
  return result;
}

}  // namespace bitbudget
