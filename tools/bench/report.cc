#include "tools/bench/report.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace bitbudget {
namespace {

constexpr size_t kColumns = 14;
using Row = std::array<std::string, kColumns>;

std::string Count(int64_t value) { return value == 0 ? "-" : absl::StrCat(value); }

// Three significant digits.
std::string Number(const std::optional<double>& value) {
  if (!value.has_value()) return "-";
  if (*value >= 100) return absl::StrFormat("%.0f", *value);
  if (*value >= 10) return absl::StrFormat("%.1f", *value);
  return absl::StrFormat("%.2f", *value);
}

Row Cells(const BenchResult& result) {
  std::string target = "-";
  std::string verdict;
  if (result.target.has_value()) {
    target = absl::StrFormat(">= %.2f", *result.target);
    verdict = result.ratio >= *result.target ? "met" : "missed";
  }
  return {result.bench,
          result.path,
          result.format,
          Count(result.m),
          Count(result.n),
          Count(result.k),
          absl::StrCat(result.threads),
          Number(result.gmac_per_s),
          Number(result.gb_per_s),
          Number(result.per_s.has_value() ? result.per_s : result.tokens_per_s),
          absl::StrFormat("%.3f of %s", result.ratio, result.baseline),
          absl::StrFormat("%.1f%%", 100 * result.spread),
          target,
          verdict};
}

nlohmann::ordered_json OrNull(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json OrNull(int64_t value) {
  return value != 0 ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string RenderTable(const std::vector<BenchResult>& results) {
  const bool searches = std::any_of(
      results.begin(), results.end(), [](const BenchResult& r) { return r.per_s.has_value(); });
  std::vector<Row> rows = {{"bench",
                            "path",
                            "format",
                            "m",
                            "n",
                            "k",
                            "threads",
                            "GMAC/s",
                            "GB/s",
                            searches ? "1/s" : "tokens/s",
                            "ratio",
                            "spread",
                            "target",
                            ""}};
  for (const BenchResult& result : results) rows.push_back(Cells(result));
  std::array<size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t c = 0; c < kColumns; ++c) {
      const std::string pad(widths[c] - row[c].size(), ' ');
      const bool is_text = c < 3 || c == 10 || c + 1 == kColumns;
      absl::StrAppend(&line, c > 0 ? "  " : "", is_text ? row[c] + pad : pad + row[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

nlohmann::ordered_json ToJson(const BenchResult& result) {
  nlohmann::ordered_json json;
  json["bench"] = result.bench;
  json["path"] = result.path;
  json["format"] = result.format;
  json["m"] = OrNull(result.m);
  json["n"] = OrNull(result.n);
  json["k"] = OrNull(result.k);
  json["threads"] = result.threads;
  json["gmac_per_s"] = OrNull(result.gmac_per_s);
  json["tokens_per_s"] = OrNull(result.tokens_per_s);
  json["gb_per_s"] = OrNull(result.gb_per_s);
  json["per_s"] = OrNull(result.per_s);
  json["baseline"] = result.baseline;
  json["ratio"] = result.ratio;
  json["spread"] = result.spread;
  json["target"] = OrNull(result.target);
  json["met"] = result.target.has_value() ? nlohmann::ordered_json(result.ratio >= *result.target)
                                          : nlohmann::ordered_json(nullptr);
  return json;
}

}  // namespace bitbudget
