#ifndef BITBUDGET_TESTS_SUPPORT_TEMP_DIR_H_
#define BITBUDGET_TESTS_SUPPORT_TEMP_DIR_H_

#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// A fresh empty folder that is removed, with all that is in it, at the end of its scope.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;  // path()/name

 private:
  std::string path_;
};

// Plain file access for tests; they end the test program when they fail.
void WriteTestFile(const std::string& path, absl::string_view contents);
std::string ReadTestFile(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_TEMP_DIR_H_
