#ifndef BITBUDGET_PLANS_TEXT_TABLE_H_
#define BITBUDGET_PLANS_TEXT_TABLE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bitbudget {

// Rows of text cells, printed in columns as wide as their widest cell, two spaces apart.
class TextTable {
 public:
  enum class Align : uint8_t { kLeft, kRight };

  // Columns beyond `alignment` are aligned like its last one. REQUIRES: not empty.
  explicit TextTable(std::vector<Align> alignment) : alignment_(std::move(alignment)) {}

  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  // One line per row, each after `indent` spaces, none with trailing spaces. A table wider than
  // `width` columns of a terminal is several, one below the other, each with the first column;
  // `together`: how many of the others stay side by side. 0: as wide as it is.
  std::string ToString(int indent, int width = 0, int together = 1) const;

 private:
  // The first column and [begin, end) of the others.
  std::string Part(const std::vector<size_t>& widths, int indent, size_t begin, size_t end) const;

  std::vector<Align> alignment_;
  std::vector<std::vector<std::string>> rows_;
};

// "1234567" as "1,234,567".
std::string WithThousands(int64_t value);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TEXT_TABLE_H_
