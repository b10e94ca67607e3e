#include "runtime/model/checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "runtime/base/mapped_file.h"
#include "runtime/model/checkpoint/gguf_writer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::vector<uint8_t> Pattern(int64_t size, int seed) {
  std::vector<uint8_t> bytes(size);
  for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + seed);
  return bytes;
}

// A file with a value of every kind that the writer has and tensors of several formats.
class GgufTest : public testing::Test {
 protected:
  GgufTest() {
    writer_.AddText("general.architecture", "llama");
    writer_.AddU32("u32", 7);
    GgufValue u64;
    u64.type = GgufType::kU64;
    u64.bytes = std::as_bytes(std::span(&kBig, 1));
    writer_.AddValue("u64", u64);
    writer_.AddF32("f32", 0.5f);
    writer_.AddBool("bool", true);
    writer_.AddTexts("texts", std::vector<std::string>{"a", "", "\xe2\x96\x81long"});
    writer_.AddF32s("floats", std::vector<float>{1, -2.5f});
    writer_.AddI32s("ints", std::vector<int32_t>{-1, 2, 3});
    writer_.AddTensor("norm.weight", {3}, kFormatF32);
    writer_.AddTensor("a.weight", {5, 256}, *ParseFormat("q4_k"));
    writer_.AddTensor("b.weight", {2, 64}, *ParseFormat("q4_0"));
    writer_.AddTensor("c.weight", {2, 3, 4}, kFormatF16);
    sizes_ = {12, 5 * 144, 2 * 36, 48};
  }

  std::string Write() {
    const absl::Status status = writer_.Write(path(), [&](int i, std::vector<uint8_t>* bytes) {
      *bytes = Pattern(sizes_[i], i);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return *ReadFile(path());
  }
  std::string path() const { return dir_.File("x.gguf"); }

  // Parses `file`, which the result points into.
  static absl::StatusOr<GgufFile> Parse(const std::string& file) {
    return ParseGguf(std::as_bytes(std::span(file)), "x.gguf");
  }

  static constexpr uint64_t kBig = uint64_t{1} << 40;
  TempDir dir_;
  GgufWriter writer_;
  std::vector<int64_t> sizes_;
};

TEST_F(GgufTest, ReadsWhatTheWriterWrote) {
  const std::string bytes = Write();
  EXPECT_EQ(static_cast<int64_t>(bytes.size()), writer_.FileBytes());
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*file->Find("general.architecture")->Text(), "llama");
  EXPECT_EQ(file->Find("u32")->Integer(), 7);
  EXPECT_EQ(file->Find("u64")->Integer(), int64_t{1} << 40);
  EXPECT_EQ(file->Find("f32")->Number(), 0.5);
  EXPECT_EQ(file->Find("bool")->Bool(), true);
  EXPECT_EQ(file->Find("texts")->Texts(),
            (std::vector<absl::string_view>{"a", "", "\xe2\x96\x81long"}));
  EXPECT_EQ(file->Find("floats")->Numbers(), (std::vector<double>{1, -2.5}));
  EXPECT_EQ(file->Find("ints")->Integers(), (std::vector<int64_t>{-1, 2, 3}));
  EXPECT_EQ(file->Find("absent"), nullptr);
  ASSERT_EQ(file->tensors.size(), 4u);
  const std::vector<std::vector<int64_t>> shapes = {{3}, {5, 256}, {2, 64}, {2, 3, 4}};
  for (size_t i = 0; i < 4; ++i) {
    const GgufTensor& tensor = file->tensors[i];
    EXPECT_EQ(tensor.shape, shapes[i]);
    const std::vector<uint8_t> expected = Pattern(sizes_[i], static_cast<int>(i));
    ASSERT_EQ(tensor.data.size(), expected.size());
    EXPECT_EQ(std::memcmp(tensor.data.data(), expected.data(), expected.size()), 0);
    EXPECT_EQ((tensor.data.data() - reinterpret_cast<const std::byte*>(bytes.data())) % 32, 0);
  }
  EXPECT_EQ(file->tensors[1].format.Name(), "q4_k");
}

TEST_F(GgufTest, ValuesOfOneKindAreNotTakenForAnother) {
  const std::string bytes = Write();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Find("f32")->Integer(), std::nullopt);
  EXPECT_EQ(file->Find("u32")->Bool(), std::nullopt);
  EXPECT_EQ(file->Find("u32")->Text(), std::nullopt);
  EXPECT_EQ(file->Find("u32")->Integers(), std::nullopt);
  EXPECT_EQ(file->Find("bool")->Integer(), std::nullopt);
  EXPECT_EQ(file->Find("texts")->Numbers(), std::nullopt);
  EXPECT_EQ(file->Find("floats")->Integers(), std::nullopt);
  EXPECT_EQ(file->Find("floats")->Texts(), std::nullopt);
  EXPECT_EQ(file->Find("ints")->Numbers(), (std::vector<double>{-1, 2, 3}));
}

TEST_F(GgufTest, CopiesValuesOfAnotherFile) {
  const std::string bytes = Write();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  GgufWriter copy;
  for (const GgufEntry& entry : file->entries) copy.AddValue(entry.key, entry.value);
  const std::string other_path = dir_.File("copy.gguf");
  const auto nothing = [](int, std::vector<uint8_t>*) { return absl::OkStatus(); };
  ASSERT_TRUE(copy.Write(other_path, nothing).ok());
  const std::string other = *ReadFile(other_path);
  const auto again = Parse(other);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->metadata.size(), file->metadata.size());
  EXPECT_EQ(std::memcmp(again->metadata.data(), file->metadata.data(), file->metadata.size()), 0);
}

TEST_F(GgufTest, RefusesWhatItCannotReadSafely) {
  const std::string good = Write();
  const auto expect = [&](size_t at, std::string_view patch, std::vector<std::string> parts) {
    std::string bad = good;
    bad.replace(at, patch.size(), patch);
    parts.insert(parts.begin(), "x.gguf");
    ExpectError(Parse(bad).status(), kInvalid, parts);
  };
  const std::string huge(8, '\xff');
  expect(0, "GGML", {"byte 0", "magic is not GGUF"});
  expect(4, std::string("\1\0\0\0", 4), {"byte 4", "version 1 is not supported"});
  expect(4, std::string("\0\0\0\3", 4), {"big-endian"});
  expect(8, huge, {"byte 8", "tensor count", "more than the file has room for"});
  expect(16, huge, {"byte 16", "metadata count"});
  expect(24, huge, {"byte 32", "metadata key", "reaches beyond the end of the file"});
  const size_t u32 = good.find("u32");
  expect(u32 + 3, std::string("\77\0\0\0", 4), {"value of \"u32\"", "unknown type 63"});
  const size_t texts = good.find("texts");
  expect(texts + 5 + 4, std::string("\11\0\0\0", 4), {"\"texts\"", "array of arrays"});
  expect(texts + 5 + 8, huge, {"\"texts\"", "items, more than the file has room for"});
  expect(texts + 5 + 16, huge, {"item 0 of \"texts\""});
  const size_t norm = good.find("norm.weight");
  expect(norm + 11, std::string("\5\0\0\0", 4), {"tensor \"norm.weight\"", "5 dimensions"});
  expect(norm + 15, huge, {"tensor \"norm.weight\"", "size -1 of dimension 0"});
  expect(norm + 23, std::string("\143\0\0\0", 4), {"type 99 is unknown"});
  expect(norm + 27, std::string("\40", 1), {"offset 32 is not 0"});
  const size_t q4_k = good.find("a.weight");
  expect(q4_k + 12, std::string("\40\0", 2), {"rows of 32 are not whole blocks of q4_k"});
  std::string named = good;
  named.replace(good.find("b.weight"), 8, "a.weight");
  ExpectError(Parse(named).status(), kInvalid, {"tensor \"a.weight\"", "duplicate name"});
  named = good;
  named.replace(good.find("u64"), 3, "u32");
  ExpectError(Parse(named).status(), kInvalid, {"duplicate metadata key \"u32\""});
  std::string type = good;
  type[norm + 23] = 40;
  ExpectError(
      Parse(type).status(), absl::StatusCode::kUnimplemented, {"nvfp4 (40) is not supported"});
}

TEST_F(GgufTest, RefusesEveryTruncation) {
  const std::string good = Write();
  for (size_t size = 0; size < good.size() - 16; ++size) {  // 16 bytes of padding may be missing
    EXPECT_FALSE(Parse(good.substr(0, size)).ok()) << size;
  }
  EXPECT_TRUE(Parse(good).ok());
}

TEST_F(GgufTest, KeepsTheOldFileWhenATensorFails) {
  const std::string before = Write();
  const absl::Status status = writer_.Write(path(), [](int i, std::vector<uint8_t>* bytes) {
    bytes->assign(12, 0);
    return i == 0 ? absl::OkStatus() : absl::CancelledError("interrupted");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(*ReadFile(path()), before);
}

}  // namespace
}  // namespace bitbudget
