#include "plans/text_table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace bitbudget {

std::string TextTable::Part(const std::vector<size_t>& widths,
                            int indent,
                            size_t begin,
                            size_t end) const {
  std::string text;
  for (const auto& row : rows_) {
    std::string line(static_cast<size_t>(indent), ' ');
    for (size_t i = 0; i < std::min(row.size(), end); ++i) {
      if (i > 0 && i < begin) continue;
      if (i > 0) line.append(2, ' ');
      const std::string padding(widths[i] - row[i].size(), ' ');
      const bool right = alignment_[std::min(i, alignment_.size() - 1)] == Align::kRight;
      absl::StrAppend(&line, right ? padding : row[i], right ? row[i] : padding);
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string TextTable::ToString(int indent, int width, int together) const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto step = static_cast<size_t>(together);
  std::string text;
  size_t begin = 1;
  do {
    size_t end = begin;
    for (size_t used = indent + (widths.empty() ? 0 : widths[0]); end < widths.size();) {
      const size_t next = std::min(end + step, widths.size());
      for (size_t i = end; i < next; ++i) used += 2 + widths[i];
      if (width > 0 && end > begin && used > static_cast<size_t>(width)) break;
      end = next;
    }
    if (begin > 1) text += "\n";
    text += Part(widths, indent, begin, end);
    begin = end;
  } while (begin < widths.size());
  return text;
}

std::string WithThousands(int64_t value) {
  const std::string digits = absl::StrCat(value);
  const size_t first = value < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

}  // namespace bitbudget
