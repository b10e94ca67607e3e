#include "tools/bus_error.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <utility>

#include "runtime/base/mapped_file.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

TEST(BusErrorDeathTest, AFileThatShrinksWhileItIsMappedEndsInOneLineThatNamesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  const std::string path = dir.path() + "/model.safetensors";
  WriteTestFile(path, std::string(100'000, 'x'));
  const auto shrink_and_read = [&] {
    InstallBusErrorHandler();
    const MappedFile file = *MappedFile::Open(path);
    if (truncate(path.c_str(), 10) != 0) _exit(1);
    volatile std::byte last = file.bytes().back();
    static_cast<void>(last);
    _exit(0);
  };
  EXPECT_EXIT(shrink_and_read(),
              testing::ExitedWithCode(3),
              "^bitbudget: .*/model.safetensors: was cut short.*\n$");
}

TEST(MappedFile, IsFoundByAddressWhileItLives) {
  const TempDir dir;
  WriteTestFile(dir.path() + "/a", "contents");
  const char* address = nullptr;
  {
    MappedFile file = *MappedFile::Open(dir.path() + "/a");
    address = reinterpret_cast<const char*>(file.bytes().data());
    const MappedFile moved = std::move(file);
    EXPECT_EQ(std::string(MappedFile::PathAt(address + 7)), dir.path() + "/a");
    EXPECT_EQ(MappedFile::PathAt(address + 8), nullptr);
  }
  EXPECT_EQ(MappedFile::PathAt(address), nullptr);
  EXPECT_EQ(MappedFile::PathAt(nullptr), nullptr);
}

}  // namespace
}  // namespace bitbudget
