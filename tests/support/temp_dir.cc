#include "tests/support/temp_dir.h"

#include <glog/logging.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace bitbudget {

TempDir::TempDir() {
  path_ = (std::filesystem::temp_directory_path() / "bitbudget-test-XXXXXX").string();
  PCHECK(mkdtemp(path_.data()) != nullptr) << path_;
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TempDir::File(absl::string_view name) const { return absl::StrCat(path_, "/", name); }

void WriteTestFile(const std::string& path, absl::string_view contents) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  CHECK(file.good()) << "cannot write " << path;
}

std::string ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good()) << "cannot read " << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace bitbudget
