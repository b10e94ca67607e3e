// Encodes and decodes matrices for scripts that compare with other implementations of a format:
//   format_tool decode FORMAT COLS [ROWS] < bytes > floats
//   format_tool encode FORMAT ENCODER COLS WEIGHTS [MOMENTS] > bytes
//   format_tool round FORMAT COLS < floats > rounded
// WEIGHTS is a file of f32 [rows, COLS], MOMENTS one of f32 [COLS]. Encoding prints the seconds of
// CPU time that it took, on one thread, to standard error. Without ROWS the bytes say how many
// there are, which they do where all rows take the same. Inputs are rounded as llama.cpp's products
// with FORMAT round them: rows of COLS as i8 codes, f32 scales and f32 sums of runs
// (runtime/kernels/input_rounding.h), or as f32 where there are no codes.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/kernels/input_rounding.h"
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

int Round(const Format& format, int64_t cols) {
  const std::vector<char> bytes = ReadAll(std::cin);
  std::vector<float> inputs(bytes.size() / sizeof(float));
  std::memcpy(inputs.data(), bytes.data(), inputs.size() * sizeof(float));
  const InputRounding rounding = LlamaCppRounding(format);
  const int64_t run = RunOf(rounding);
  if (run == 0) {
    RoundToFloats(rounding, 1, static_cast<int64_t>(inputs.size()), inputs.data());
    std::fwrite(inputs.data(), sizeof(float), inputs.size(), stdout);
    return 0;
  }
  std::vector<int8_t> codes(cols);
  std::vector<float> scales(cols / run);
  std::vector<float> sums(cols / run);
  for (size_t at = 0; at + cols <= inputs.size(); at += cols) {
    RoundToCodes(rounding, inputs.data() + at, cols, codes.data(), scales.data(), sums.data());
    std::fwrite(codes.data(), 1, codes.size(), stdout);
    std::fwrite(scales.data(), sizeof(float), scales.size(), stdout);
    std::fwrite(sums.data(), sizeof(float), sums.size(), stdout);
  }
  return 0;
}

int Main(int argc, char** argv) {
  const std::string what = argc > 3 ? argv[1] : "";
  const bool decode = what == "decode" && (argc == 4 || argc == 5);
  const bool encode = what == "encode" && (argc == 6 || argc == 7);
  const bool round = what == "round" && argc == 4;
  const int64_t cols = decode || round ? std::atoll(argv[3]) : encode ? std::atoll(argv[4]) : 0;
  if (cols <= 0) {
    std::cerr
        << "format_tool decode FORMAT COLS [ROWS] | encode FORMAT ENCODER COLS WEIGHTS [MOMENTS] | "
           "round FORMAT COLS\n";
    return 2;
  }
  const absl::StatusOr<Format> format = ParseFormat(argv[2]);
  if (!format.ok()) return Fail(format.status());
  if (!Fits(*format, cols)) return Fail(absl::InvalidArgumentError("rows are not whole blocks"));
  if (round) return Round(*format, cols);
  if (decode) return Decode(*format, cols, argc == 5 ? argv[4] : nullptr);
  return Encode(*format, argv[3], cols, argv[5], argc == 7 ? argv[6] : nullptr);
}

}  // namespace
}  // namespace bitbudget

int main(int argc, char** argv) { return bitbudget::Main(argc, argv); }
