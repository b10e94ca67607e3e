#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/constraints.h"
#include "plans/text_table.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

struct FormatsFlags {
  std::string formats;
  int64_t rows = 4096;
  int64_t cols = 4096;
  bool json = false;
};

absl::StatusOr<std::vector<Format>> Asked(const FormatsFlags& flags) {
  if (!flags.formats.empty()) return ParseFormatList(flags.formats);
  return std::vector<Format>(SupportedFormats().begin(), SupportedFormats().end());
}

absl::Status RunFormats(const FormatsFlags& flags) {
  const absl::StatusOr<std::vector<Format>> formats = Asked(flags);
  if (!formats.ok()) return UsageError(formats.status());
  const double weights = static_cast<double>(flags.rows) * static_cast<double>(flags.cols);
  nlohmann::ordered_json json = {{"rows", flags.rows}, {"cols", flags.cols}};
  TextTable table({TextTable::Align::kLeft, TextTable::Align::kRight});
  table.AddRow({"format", "bits per weight", "bytes"});
  for (const Format& format : *formats) {
    if (!Fits(format, flags.cols)) {
      json["formats"][format.Name()] = nullptr;
      table.AddRow({format.Name(), "-", absl::StrCat("blocks of ", format.BlockSize())});
      continue;
    }
    const int64_t bits = SizeBits(format, flags.rows, flags.cols);
    const double per_weight = static_cast<double>(bits) / weights;
    json["formats"][format.Name()] = {{"size_bits", bits}, {"bits_per_weight", per_weight}};
    table.AddRow({format.Name(), absl::StrCat(per_weight), absl::StrCat(bits / 8)});
  }
  if (flags.json) {
    std::printf("%s\n", DumpJson(json, 2).c_str());
  } else {
    PrintFitting(absl::StrCat("a matrix of ",
                              flags.rows,
                              " x ",
                              flags.cols,
                              " weights, scales and zero points included:\n",
                              table.ToString(/*indent=*/2, OutputWidth())));
  }
  return absl::OkStatus();
}

}  // namespace

void AddFormatsCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "formats",
                 "List the formats and the size of a matrix in each",
                 {"formats", "formats --formats int4-g64,q4_k --rows 4096 --cols 4096"});
  auto flags = std::make_shared<FormatsFlags>();
  command->add_option("--formats",
                      flags->formats,
                      "Formats to list (default: all dense ones); add "
                      "+2:4 or +s<per cent> to float and integer formats for sparse ones");
  command->add_option("--rows", flags->rows, "Outputs of the matrix")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  command->add_option("--cols", flags->cols, "Inputs of the matrix")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  command->add_flag("--json", flags->json, "Print the list as JSON");
  SetBody(command, [flags] { return RunFormats(*flags); });
}

}  // namespace bitbudget
