#include "tests/support/safetensors_writer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace bitbudget {

std::string SafetensorsHeader(const std::vector<TestTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  size_t offset = 0;
  for (const TestTensor& tensor : tensors) {
    const size_t end = offset + tensor.bytes.size();
    absl::StrAppend(&header,
                    absl::StrCat(",\"", tensor.name, "\":{\"dtype\":\"", tensor.dtype, "\","),
                    absl::StrCat("\"shape\":[", absl::StrJoin(tensor.shape, ","), "],"),
                    absl::StrCat("\"data_offsets\":[", offset, ",", end, "]}"));
    offset = end;
  }
  return header + "}";
}

std::string SafetensorsFile(absl::string_view header, absl::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i)));
  }
  absl::StrAppend(&file, header, data);
  return file;
}

std::string SafetensorsFile(const std::vector<TestTensor>& tensors) {
  std::string data;
  for (const TestTensor& tensor : tensors) data += tensor.bytes;
  return SafetensorsFile(SafetensorsHeader(tensors), data);
}

}  // namespace bitbudget
