#include "plans/fit_lines.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace bitbudget {
namespace {

constexpr size_t kNone = absl::string_view::npos;

size_t WordAt(absl::string_view line, size_t from) {
  return std::min(line.find_first_not_of(' ', from), line.size());
}

size_t EndOfWord(absl::string_view line, size_t from) {
  return std::min(line.find(' ', from), line.size());
}

// Where the word starts that begins the next line: the first one that ends behind `width`, unless
// no line takes it; kNone where the line cannot be broken.
size_t Break(absl::string_view line, size_t width, size_t hang) {
  size_t begin = WordAt(line, EndOfWord(line, WordAt(line, 0)));
  for (; begin < line.size(); begin = WordAt(line, EndOfWord(line, begin))) {
    const size_t end = EndOfWord(line, begin);
    if (end > width && hang + (end - begin) <= width) return begin;
  }
  return kNone;
}

}  // namespace

std::string FitLines(absl::string_view text, int width, int hang) {
  if (width <= 0) return std::string(text);
  // Narrower than what is hung on: better than a word a line.
  const size_t indent = static_cast<size_t>(hang < width / 2 ? hang : 0);
  const auto limit = static_cast<size_t>(width);
  std::vector<std::string> lines;
  for (const absl::string_view whole : absl::StrSplit(text, '\n')) {
    std::string line(whole);
    while (line.size() > limit) {
      const size_t at = Break(line, limit, indent);
      if (at == kNone) break;
      lines.push_back(line.substr(0, line.find_last_not_of(' ', at - 1) + 1));
      line = std::string(indent, ' ') + line.substr(at);
    }
    lines.push_back(std::move(line));
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace bitbudget
