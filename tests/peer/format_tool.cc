// Encodes and decodes matrices for scripts that compare with other implementations of a format:
//   format_tool decode FORMAT COLS [ROWS] < bytes > floats
//   format_tool encode FORMAT ENCODER COLS WEIGHTS [MOMENTS] > bytes
// WEIGHTS is a file of f32 [rows, COLS], MOMENTS one of f32 [COLS]. Encoding prints the seconds of
// CPU time that it took, on one thread, to standard error. Without ROWS the bytes say how many
// there are, which they do where all rows take the same.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/quantize/encoders.h"

namespace bitbudget {
namespace {

int Fail(const absl::Status& status) {
  std::cerr << status.message() << "\n";
  return 1;
}

std::vector<char> ReadAll(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<float> ReadFloats(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes = ReadAll(file);
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

int Decode(const Format& format, int64_t cols, const char* rows) {
  const std::vector<char> bytes = ReadAll(std::cin);
  Encoding encoding{format, 0, cols, {bytes.begin(), bytes.end()}};
  encoding.rows = rows != nullptr ? std::atoll(rows)
                                  : static_cast<int64_t>(bytes.size()) / SizeBytes(format, 1, cols);
  std::vector<float> values(encoding.rows * cols);
  DecodeReference(encoding, values);
  std::fwrite(values.data(), sizeof(float), values.size(), stdout);
  return 0;
}

int Encode(const Format& format,
           const char* encoder_name,
           int64_t cols,
           const char* weights_path,
           const char* moments_path) {
  const absl::StatusOr<std::unique_ptr<Encoder>> encoder = MakeEncoder(encoder_name);
  if (!encoder.ok()) return Fail(encoder.status());
  const std::vector<float> weights = ReadFloats(weights_path);
  std::vector<float> moments;
  if (moments_path != nullptr) moments = ReadFloats(moments_path);
  const int64_t rows = static_cast<int64_t>(weights.size()) / cols;
  const std::clock_t start = std::clock();
  const absl::StatusOr<Encoding> encoding =
      (*encoder)->Encode(ViewOf(weights, rows, cols), format, {moments, nullptr});
  const double elapsed = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (!encoding.ok()) return Fail(encoding.status());
  std::fprintf(stderr, "%.6f\n", elapsed);
  std::fwrite(encoding->bytes.data(), 1, encoding->bytes.size(), stdout);
  return 0;
}

int Main(int argc, char** argv) {
  const std::string what = argc > 3 ? argv[1] : "";
  const bool decode = what == "decode" && (argc == 4 || argc == 5);
  const bool encode = what == "encode" && (argc == 6 || argc == 7);
  const int64_t cols = decode ? std::atoll(argv[3]) : encode ? std::atoll(argv[4]) : 0;
  if (cols <= 0) {
    std::cerr
        << "format_tool decode FORMAT COLS [ROWS] | encode FORMAT ENCODER COLS WEIGHTS [MOMENTS]\n";
    return 2;
  }
  const absl::StatusOr<Format> format = ParseFormat(argv[2]);
  if (!format.ok()) return Fail(format.status());
  if (!Fits(*format, cols)) return Fail(absl::InvalidArgumentError("rows are not whole blocks"));
  if (decode) return Decode(*format, cols, argc == 5 ? argv[4] : nullptr);
  return Encode(*format, argv[3], cols, argv[5], argc == 7 ? argv[6] : nullptr);
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) { return bitbudget::Main(argc, argv); }
