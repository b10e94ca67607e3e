#include "planner/workspace/outputs.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;
using Kind = OutputPath::Kind;

class OutputsTest : public testing::Test {
 protected:
  OutputsTest() {
    fs::create_directory(dir_.File("model"));
    fs::create_directory(dir_.File("x"));
    for (const char* name : {"model/config.json",
                             "model/model-00001-of-00002.safetensors",
                             "model/old_plan.json",
                             "text.txt",
                             "m-00001-of-00002.gguf",
                             "m-00002-of-00002.gguf",
                             "m-00001-of-00003.gguf"}) {
      WriteTestFile(dir_.File(name), name);
    }
  }

  absl::Status Check(const std::string& out, Kind kind, const std::string& read) const {
    const std::vector<OutputPath> writes = {{"--out", dir_.File(out), kind}};
    const std::vector<std::string> reads = {"", dir_.File("missing"), dir_.File(read)};
    return CheckOutputs(writes, reads);
  }
  void Refuse(const std::string& out, Kind kind, const std::string& read) const {
    ExpectError(Check(out, kind, read),
                absl::StatusCode::kInvalidArgument,
                {"--out", dir_.File(out), "this command reads"});
  }
  void Allow(const std::string& out, Kind kind, const std::string& read) const {
    const absl::Status status = Check(out, kind, read);
    EXPECT_TRUE(status.ok()) << status;
  }

  TempDir dir_;
};

TEST_F(OutputsTest, SeesThroughEveryNameOfAFile) {
  fs::create_symlink(dir_.File("text.txt"), dir_.File("soft"));
  fs::create_hard_link(dir_.File("text.txt"), dir_.File("hard"));
  fs::create_directory_symlink(dir_.path(), dir_.File("here"));
  for (const char* out :
       {"text.txt", "x/../text.txt", "./text.txt", "soft", "hard", "here/text.txt"}) {
    Refuse(out, Kind::kFile, "text.txt");
    Allow(out, Kind::kFile, "model");
  }
  Allow("new.txt", Kind::kFile, "text.txt");
}

TEST_F(OutputsTest, AModelFolderIsTheFilesOfItsModel) {
  Refuse("model/config.json", Kind::kFile, "model");
  Refuse("x/../model/model-00001-of-00002.safetensors", Kind::kFile, "model");
  Allow("model/old_plan.json", Kind::kFile, "model");
  Allow("model/new.json", Kind::kFile, "model");
}

TEST_F(OutputsTest, ASplitIsAllItsFiles) {
  Refuse("m-00002-of-00002.gguf", Kind::kFile, "m-00001-of-00002.gguf");
  Allow("m-00001-of-00003.gguf", Kind::kFile, "m-00001-of-00002.gguf");
}

TEST_F(OutputsTest, FoldersThatAreReadOrHoldWhatIsRead) {
  for (const Kind kind : {Kind::kNewFolder, Kind::kStore}) {
    Refuse("model", kind, "model");
    Allow("x", kind, "model");
    Allow("new", kind, "model");
  }
  Refuse("x/..", Kind::kNewFolder, "model");
  Refuse("x/..", Kind::kNewFolder, "text.txt");
  Allow("x/..", Kind::kStore, "text.txt");  // files are added beside it
}

TEST_F(OutputsTest, TwoOutputsAreTwoPaths) {
  const std::vector<OutputPath> writes = {{"--out", dir_.File("new")},
                                          {"--run-dir", dir_.File("x/../new"), Kind::kStore}};
  ExpectError(CheckOutputs(writes, {}),
              absl::StatusCode::kInvalidArgument,
              {"--out", "--run-dir", dir_.File("x/../new")});
}

}  // namespace
}  // namespace bitbudget
