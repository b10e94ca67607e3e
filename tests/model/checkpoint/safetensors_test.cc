#include "runtime/model/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/support/expect_error.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

constexpr char kPath[] = "folder/model.safetensors";

std::span<const std::byte> BytesOf(const std::vector<char>& file) {
  return {reinterpret_cast<const std::byte*>(file.data()), file.size()};
}

// Parses a copy in a buffer of exactly the file's size (a sanitizer sees reads beyond it).
absl::Status ParseStatus(const std::string& file) {
  const std::vector<char> exact(file.begin(), file.end());
  return ParseSafetensors(BytesOf(exact), kPath).status();
}

void ExpectRefused(const std::string& file, std::vector<std::string> parts) {
  parts.push_back(absl::StrCat(kPath, ": "));
  ExpectError(ParseStatus(file), absl::StatusCode::kInvalidArgument, parts);
}

// One tensor "t" with these header fields and `bytes` bytes of data.
std::string OneTensor(const std::string& dtype,
                      const std::string& shape,
                      const std::string& offsets,
                      size_t bytes) {
  return SafetensorsFile(
      absl::StrCat(
          R"({"t":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets, "}}"),
      std::string(bytes, '\0'));
}

std::string TwoTensors(const std::string& offsets_a, const std::string& offsets_b, size_t bytes) {
  return SafetensorsFile(absl::StrCat(R"({"a":{"dtype":"BF16","shape":[4],"data_offsets":)",
                                      offsets_a,
                                      R"(},"b":{"dtype":"BF16","shape":[4],"data_offsets":)",
                                      offsets_b,
                                      "}}"),
                         std::string(bytes, '\0'));
}

std::string SmallFile() {
  return SafetensorsFile({
      {"matrix", "F32", {2, 3}, TensorBytes({1, 2, 3, 4, 5, 6}, kFormatF32)},
      {"vector", "BF16", {3}, TensorBytes({1, -2, 0.5}, kFormatBF16)},
      {"cube", "F16", {2, 1, 2}, TensorBytes({1, 2, 3, -4}, kFormatF16)},
      {"scalar", "F32", {}, TensorBytes({7}, kFormatF32)},
      {"nothing", "F32", {0, 5}, ""},
  });
}

TEST(ParseSafetensors, ReadsShapesTypesAndValues) {
  const std::string text = SmallFile();
  const std::vector<char> file(text.begin(), text.end());
  const auto tensors = ParseSafetensors(BytesOf(file), kPath);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 5u);

  const ArchiveTensor& matrix = tensors->at("matrix");
  EXPECT_EQ(matrix.file, kPath);
  EXPECT_EQ(matrix.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(matrix.view.format, kFormatF32);
  EXPECT_EQ(matrix.view.rows, 2);
  EXPECT_EQ(matrix.view.cols, 3);
  std::vector<float> row(3);
  matrix.view.ReadRow(1, row);
  EXPECT_EQ(row, (std::vector<float>{4, 5, 6}));

  const ArchiveTensor& vector = tensors->at("vector");
  EXPECT_EQ(vector.shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(vector.view.rows, 1);
  EXPECT_EQ(vector.view.cols, 3);
  vector.view.ReadRow(0, row);
  EXPECT_EQ(row, (std::vector<float>{1, -2, 0.5}));

  const ArchiveTensor& cube = tensors->at("cube");
  EXPECT_EQ(cube.shape, (std::vector<int64_t>{2, 1, 2}));
  EXPECT_EQ(cube.view.rows, 2);
  EXPECT_EQ(cube.view.cols, 2);
  std::vector<float> pair(2);
  cube.view.ReadRow(1, pair);
  EXPECT_EQ(pair, (std::vector<float>{3, -4}));

  EXPECT_EQ(tensors->at("scalar").view.size(), 1);
  EXPECT_EQ(tensors->at("nothing").view.size(), 0);
}

TEST(ParseByteTensors, ReadsBytesAndMetadata) {
  const std::string text = SafetensorsFile(
      R"({"__metadata__":{"a":"int4-g64"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
      R"("b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
      "\x01\xff");
  const std::vector<char> file(text.begin(), text.end());
  const auto parsed = ParseByteTensors(BytesOf(file), kPath);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->metadata, (std::map<std::string, std::string>{{"a", "int4-g64"}}));
  ASSERT_EQ(parsed->tensors.size(), 2u);
  const std::span<const std::byte> a = parsed->tensors.at("a");
  EXPECT_EQ(std::vector<std::byte>(a.begin(), a.end()),
            (std::vector<std::byte>{std::byte{1}, std::byte{255}}));
  EXPECT_TRUE(parsed->tensors.at("b").empty());

  // A model has no bytes, and such a file no floats.
  ExpectRefused(text, {"tensor \"a\"", "dtype", "U8", "F32, F16 and BF16"});
  const std::string model = SmallFile();
  ExpectError(ParseByteTensors(BytesOf({model.begin(), model.end()}), kPath).status(),
              absl::StatusCode::kInvalidArgument,
              {kPath, "tensor ", "dtype", "U8"});
}

TEST(ParseSafetensors, AllowsPaddingSpacesAndNoTensors) {
  EXPECT_TRUE(ParseStatus(SafetensorsFile("{}", "")).ok());
  EXPECT_TRUE(ParseStatus(SafetensorsFile("{}      ", "")).ok());
}

TEST(ParseSafetensors, RefusesEveryTruncation) {
  const std::string file = SmallFile();
  ASSERT_TRUE(ParseStatus(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectRefused(file.substr(0, size), {});
  }
}

TEST(ParseSafetensors, RefusesBytesAfterTheLastTensor) {
  ExpectRefused(SmallFile() + "x", {"the tensors end at data byte", "bytes of data"});
}

TEST(ParseSafetensors, EveryCorruptHeaderByteGivesTensorsOrOneLine) {
  const std::string file = SmallFile();
  const size_t data_bytes = 24 + 6 + 8 + 4;
  int refused = 0;
  for (size_t at = 0; at < file.size() - data_bytes; ++at) {
    for (const char byte : {'\0', '\n', '"', '{', '9', '-', 'e', '\x80', '\xff'}) {
      std::string broken = file;
      broken[at] = byte;
      const absl::Status status = ParseStatus(broken);
      if (status.ok()) continue;
      ++refused;
      ExpectError(status, absl::StatusCode::kInvalidArgument, {kPath});
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(ParseSafetensors, RefusesBadHeaderLengths) {
  const std::string file = SmallFile();
  for (const unsigned char top : {0x01, 0x7f, 0x80, 0xff}) {  // about 2^56 and more
    std::string broken = file;
    broken[7] = static_cast<char>(top);
    ExpectRefused(broken, {"header length", "at byte 0", "limit of 100000000"});
  }
  ExpectRefused(std::string("\x00\x00\x00\x01\0\0\0\0{}", 10),
                {"header length 16777216 at byte 0 reaches beyond the file of 10 bytes"});
  const size_t header_end = file.find("]}}") + 3;
  for (size_t missing = 1; missing <= 8; ++missing) {
    ExpectRefused(file.substr(0, header_end - missing), {"at byte 0 reaches beyond the file of"});
  }
  ExpectRefused("", {"0 bytes are too few"});
  ExpectRefused("abc", {"3 bytes are too few"});
  ExpectRefused(std::string(8, '\0'), {"at byte 8 is not {"});
}

TEST(ParseSafetensors, RefusesHeadersThatAreNotTheFormatsJson) {
  const auto with_header = [](absl::string_view header) { return SafetensorsFile(header, ""); };
  ExpectRefused(with_header(" {}"), {"header: \" \" at byte 8 is not {"});
  ExpectRefused(with_header("[]"), {"at byte 8 is not {"});
  ExpectRefused(with_header("{\"t\":"), {"header: bad JSON at byte"});
  ExpectRefused(with_header("{\"\xff\":{}}"), {"header: bad JSON at byte", "UTF-8"});
  ExpectRefused(with_header(absl::string_view("{}\0\0", 4)), {"header: bad JSON at byte"});
  ExpectRefused(with_header(R"({"t":3})"), {R"(tensor "t": 3 is not an object)"});
  ExpectRefused(with_header(R"({"__metadata__":{"a":1}})"), {R"(__metadata__: "a": 1 is not)"});
  ExpectRefused(with_header(R"({"__metadata__":"a"})"), {R"(__metadata__: "a" is not an object)"});
  std::string bomb = "{\"t\":";
  for (int i = 0; i < 100000; ++i) bomb += "[";
  ExpectRefused(with_header(bomb), {"nested deeper than 32 levels"});
}

TEST(ParseSafetensors, RefusesATensorNameOrFieldThatStandsTwice) {
  const std::string tensor = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  ExpectRefused(SafetensorsFile(absl::StrCat("{\"t\":", tensor, ",\"t\":", tensor, "}"), "abcd"),
                {"header: bad JSON: duplicate key \"t\""});
  ExpectRefused(
      SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})",
                      "abcd"),
      {"header: bad JSON: duplicate key \"shape\""});
}

TEST(ParseSafetensors, RefusesMissingUnknownAndMistypedFields) {
  ExpectRefused(SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1]}})", "abcd"),
                {R"(tensor "t": data_offsets: is missing)"});
  ExpectRefused(
      SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})",
                      "abcd"),
      {R"(tensor "t": "strides": unknown field)"});
  ExpectRefused(OneTensor("\"I8\"", "[4]", "[0,4]", 4), {R"(tensor "t": dtype: "I8" is not)"});
  ExpectRefused(OneTensor("\"f32\"", "[1]", "[0,4]", 4), {R"(dtype: "f32" is not supported)"});
  ExpectRefused(OneTensor("32", "[1]", "[0,4]", 4), {"dtype: 32 is not supported"});
  for (const char* shape : {"4",
                            "\"4\"",
                            "[-1]",
                            "[1.0]",
                            "[null]",
                            "[[1]]",
                            "{}",
                            "[9223372036854775808]",
                            "[1000.0]"}) {
    ExpectRefused(OneTensor("\"F32\"", shape, "[0,4]", 4),
                  {absl::StrCat("tensor \"t\": shape: ", shape, " is not a list of sizes")});
  }
  for (const char* offsets : {"[0]", "[0,2,4]", "[4,0]", "[-4,0]", "[0,4.0]", "4", "null"}) {
    ExpectRefused(OneTensor("\"F32\"", "[1]", offsets, 4),
                  {absl::StrCat("tensor \"t\": data_offsets: ", offsets, " is not [begin, end]")});
  }
}

TEST(ParseSafetensors, RefusesShapesWhoseSizeOverflows) {
  for (const char* shape : {"[4294967296,4294967296]",
                            "[9223372036854775807,2]",
                            "[9223372036854775807]",
                            "[0,4294967296,4294967296]",
                            "[3037000500,3037000500,4]"}) {
    ExpectRefused(OneTensor("\"F32\"", shape, "[0,0]", 0),
                  {absl::StrCat("tensor \"t\": shape: ", shape, " is too large")});
  }
}

TEST(ParseSafetensors, RefusesOffsetsThatDoNotMatchTheShapeOrTheFile) {
  ExpectRefused(OneTensor("\"F32\"", "[2]", "[0,4]", 4),
                {"data_offsets: [0,4] spans 4 bytes, but shape [2] of F32 takes 8"});
  ExpectRefused(OneTensor("\"BF16\"", "[1,1]", "[0,4]", 4),
                {"spans 4 bytes, but shape [1,1] of BF16 takes 2"});
  ExpectRefused(OneTensor("\"F32\"", "[2]", "[0,8]", 7),
                {"data_offsets: [0,8] reaches beyond the 7 bytes of data"});
  ExpectRefused(OneTensor("\"F32\"", "[1]", "[9223372036854775803,9223372036854775807]", 4),
                {"data_offsets: [9223372036854775803,9223372036854775807] reaches beyond"});
}

TEST(ParseSafetensors, RefusesOverlapsAndGaps) {
  EXPECT_TRUE(ParseStatus(TwoTensors("[0,8]", "[8,16]", 16)).ok());
  EXPECT_TRUE(ParseStatus(TwoTensors("[8,16]", "[0,8]", 16)).ok());
  ExpectRefused(TwoTensors("[0,8]", "[4,12]", 12),
                {R"(tensor "b": data_offsets: [4,12] overlaps tensor "a", which ends at 8)"});
  ExpectRefused(TwoTensors("[0,8]", "[0,8]", 8), {"overlaps"});
  ExpectRefused(
      TwoTensors("[0,8]", "[10,18]", 18),
      {R"(tensor "b": data_offsets: [10,18] leaves a gap: no tensor owns data bytes 8 to 10)"});
  ExpectRefused(TwoTensors("[2,10]", "[10,18]", 18),
                {R"(tensor "a": data_offsets: [2,10] leaves a gap)"});
  ExpectRefused(TwoTensors("[0,8]", "[8,16]", 20),
                {"the tensors end at data byte 16, but the file has 20 bytes of data"});
}

class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() : checkpoint_(MakeTinyCheckpoint({})) {}

  void ExpectOpenFails(absl::StatusCode code, const std::vector<std::string>& parts) {
    ExpectError(SafetensorsArchive::Open(dir_.path()).status(), code, parts);
  }

  nlohmann::json Index() const {
    return nlohmann::json::parse(ReadTestFile(dir_.File("model.safetensors.index.json")));
  }
  void WriteIndex(const nlohmann::json& index) {
    WriteTestFile(dir_.File("model.safetensors.index.json"), index.dump());
  }

  TempDir dir_;
  TestCheckpoint checkpoint_;
};

TEST_F(ArchiveTest, ShardsHoldWhatTheSingleFileHolds) {
  WriteCheckpoint(checkpoint_, dir_.path(), 3);
  const auto sharded = SafetensorsArchive::Open(dir_.path());
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  EXPECT_EQ(sharded->files.size(), 3u);
  EXPECT_EQ(sharded->path, dir_.File("model.safetensors.index.json"));
  EXPECT_EQ(sharded->tensors.size(), checkpoint_.tensors.size());
  for (const TestTensor& tensor : checkpoint_.tensors) {
    const ArchiveTensor& read = sharded->tensors.at(tensor.name);
    EXPECT_EQ(read.shape, tensor.shape);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(read.view.data), read.view.bytes()),
              tensor.bytes);
    EXPECT_EQ(read.file.rfind(dir_.File("model-0000"), 0), 0u) << read.file;
  }

  // The single file goes first when both are there.
  WriteCheckpoint(checkpoint_, dir_.path(), 1);
  const auto single = SafetensorsArchive::Open(dir_.path());
  ASSERT_TRUE(single.ok()) << single.status();
  EXPECT_EQ(single->path, dir_.File("model.safetensors"));
}

TEST_F(ArchiveTest, RefusesAFolderWithoutTensors) {
  ExpectOpenFails(absl::StatusCode::kNotFound,
                  {dir_.path(), "neither model.safetensors nor model.safetensors.index.json"});
}

TEST_F(ArchiveTest, RefusesBrokenIndexFiles) {
  const auto code = absl::StatusCode::kInvalidArgument;
  const std::string name = "model.safetensors.index.json: ";
  for (const char* text : {"", "{", "{\"weight_map\": {\"a\": \"b\"}"}) {
    WriteTestFile(dir_.File("model.safetensors.index.json"), text);
    ExpectOpenFails(code, {name + "bad JSON at byte"});
  }
  for (const char* text : {"[]", "{}", "3", R"({"weight_map": ["a"]})"}) {
    WriteTestFile(dir_.File("model.safetensors.index.json"), text);
    ExpectOpenFails(code, {name + "weight_map: is not an object"});
  }
  WriteIndex({{"weight_map", {{"t", 3}}}});
  ExpectOpenFails(code, {name + "weight_map: tensor \"t\": 3 is not a file name"});
  WriteTestFile(dir_.File("model.safetensors.index.json"),
                R"({"weight_map": {"t": "a", "t": "b"}})");
  ExpectOpenFails(code, {name + "bad JSON: duplicate key \"t\""});
}

TEST_F(ArchiveTest, RefusesShardNamesThatLeadOutOfTheFolder) {
  for (const char* shard :
       {"../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", "a\nb"}) {
    WriteIndex({{"weight_map", {{"t", shard}}}});
    ExpectOpenFails(absl::StatusCode::kInvalidArgument,
                    {"index.json: weight_map: tensor \"t\": ", "is not the name of a file"});
  }
}

TEST_F(ArchiveTest, RefusesAnIndexThatDisagreesWithItsShards) {
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  WriteCheckpoint(checkpoint_, dir_.path(), 2);
  const nlohmann::json good = Index();
  const std::string name = checkpoint_.tensors[0].name;  // in the first shard

  nlohmann::json index = good;
  index["weight_map"]["phantom.weight"] = first;
  WriteIndex(index);
  ExpectOpenFails(
      absl::StatusCode::kInvalidArgument,
      {"index.json: weight_map: tensor \"phantom.weight\": \"" + first + "\" does not hold it"});

  index = good;
  index["weight_map"].erase(name);
  WriteIndex(index);
  ExpectOpenFails(absl::StatusCode::kInvalidArgument,
                  {first + ": tensor \"" + name + "\": is not in model.safetensors.index.json"});

  index = good;
  index["weight_map"]["phantom.weight"] = "model-00003-of-00002.safetensors";
  WriteIndex(index);
  ExpectOpenFails(absl::StatusCode::kNotFound, {"model-00003-of-00002.safetensors: cannot open"});

  // A tensor that two shards hold.
  std::vector<TestTensor> tensors;
  for (size_t i = 1; i < checkpoint_.tensors.size(); i += 2) {
    tensors.push_back(checkpoint_.tensors[i]);
  }
  tensors.push_back(checkpoint_.tensors[0]);
  WriteTestFile(dir_.File(second), SafetensorsFile(tensors));
  WriteIndex(good);
  ExpectOpenFails(absl::StatusCode::kInvalidArgument,
                  {second + ": tensor \"" + name + "\": ", "places it in \"" + first + "\""});
}

TEST_F(ArchiveTest, RefusesAFolderInPlaceOfAFile) {
  std::filesystem::create_directory(dir_.File("model.safetensors"));
  ExpectOpenFails(absl::StatusCode::kInvalidArgument, {"model.safetensors: not a regular file"});
}

}  // namespace
}  // namespace bitbudget
