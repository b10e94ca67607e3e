// Reading by mapping and writing in one step, with every way in which the file system says no.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/mapped_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/resident.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

std::set<std::string> FilesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Runs `body` in a child process, whose limits and user it may change, and returns its text.
std::string InChild(const std::function<std::string()>& body) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child < 0) return "no child process";
  if (child == 0) {
    const std::string text = body();
    const bool sent = write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(sent ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
  close(ends[0]);
  int wait_status = 0;
  waitpid(child, &wait_status, 0);
  return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 ? text : "the child died";
}

// A disk that is full after some KiB: a write that begins well and then fails (EFBIG).
std::string LimitFileSize(rlim_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {bytes, bytes};
  return setrlimit(RLIMIT_FSIZE, &limit) == 0 ? "" : "cannot limit the file size";
}

TEST(WriteFile, WritesReplacesAndLeavesNothingElse) {
  TempDir dir;
  const std::string path = dir.File("plan.pb");
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  EXPECT_EQ(ReadTestFile(path), "old");
  const std::string zeros("new\0\n", 5);
  ASSERT_TRUE(WriteFileAtomically(path, zeros).ok());
  EXPECT_EQ(ReadTestFile(path), zeros);
  ASSERT_TRUE(WriteFileAtomically(path, "").ok());
  EXPECT_EQ(ReadTestFile(path), "");
  EXPECT_EQ(FilesIn(dir.path()), std::set<std::string>{"plan.pb"});
}

TEST(WriteFile, RemovesWhatKilledProcessesLeftAndNothingElse) {
  TempDir dir;
  const std::string path = dir.File("plan.pb");
  absl::StatusOr<AtomicFile> other = AtomicFile::Create(path);  // is being written
  ASSERT_TRUE(other.ok());
  std::set<std::string> kept = FilesIn(dir.path());
  ASSERT_EQ(kept.size(), 1u);
  for (const char* name : {"plan.pb.tmp.a.0",
                           "plan.pb.tmp.",
                           "plan.pb.tmp.2024",
                           "plan.pb.tmp.1.",
                           "plan.pb.tmp.1.2.3",
                           "other.pb.tmp.1.0",
                           "plan.pb.tmp"}) {
    WriteTestFile(dir.File(name), "x");
    kept.insert(name);
  }
  const auto leave = [&] {
    WriteTestFile(dir.File("plan.pb.tmp.1.0"), "left");
    ASSERT_TRUE(std::filesystem::create_directory(dir.File("plan.pb.tmp.4711.0")));
    WriteTestFile(dir.File("plan.pb.tmp.4711.0/part"), "left");
  };
  leave();
  ASSERT_TRUE(CheckWritable(path).ok());
  EXPECT_EQ(FilesIn(dir.path()), kept);
  leave();
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  kept.insert("plan.pb");
  EXPECT_EQ(FilesIn(dir.path()), kept);
  ASSERT_TRUE(other->Write("newer").ok() && other->Commit().ok());
  EXPECT_EQ(ReadTestFile(path), "newer");
}

TEST(WriteFile, HonoursTheUmask) {
  TempDir dir;
  const mode_t before = umask(027);
  const absl::Status status = WriteFileAtomically(dir.File("plan.pb"), "x");
  umask(before);
  ASSERT_TRUE(status.ok()) << status;
  struct stat info;
  ASSERT_EQ(stat(dir.File("plan.pb").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST(WriteFile, KeepsTheOldFileWhenTheDiskIsFull) {
  TempDir dir;
  const std::string path = dir.File("plan.pb");
  WriteTestFile(path, "old");
  const std::string message = InChild([&] {
    const std::string problem = LimitFileSize(4096);
    if (!problem.empty()) return problem;
    return WriteFileAtomically(path, std::string(100000, 'x')).ToString();
  });
  EXPECT_TRUE(absl::StrContains(message, path + ": cannot write")) << message;
  EXPECT_EQ(ReadTestFile(path), "old");
  EXPECT_EQ(FilesIn(dir.path()), std::set<std::string>{"plan.pb"});
}

TEST(WriteFile, NeedsPermissionForTheFolder) {
  TempDir dir;
  const std::string folder = dir.File("closed");
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  const std::string path = folder + "/plan.pb";
  WriteTestFile(path, "old");
  ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(folder.c_str(), 0555), 0);
  // Permissions do not bind root, which tests may run as.
  constexpr uid_t kNobody = 65534;
  const std::string message = InChild([&]() -> std::string {
    if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) return "still root";
    return WriteFileAtomically(path, "new").ToString() + "\n" + CheckWritable(path).ToString();
  });
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  EXPECT_EQ(ReadTestFile(path), "old");
  EXPECT_EQ(FilesIn(folder), std::set<std::string>{"plan.pb"});
  if (message == "still root") GTEST_SKIP() << "runs as root and may not become another user";
  const std::string refusal = "PERMISSION_DENIED: " + path + ": cannot create";
  const size_t second_line = message.find('\n') + 1;
  EXPECT_TRUE(absl::StartsWith(message, refusal)) << message;
  EXPECT_TRUE(absl::StartsWith(message.substr(second_line), refusal)) << message;
}

TEST(WriteFile, RefusesWhatIsNoRegularFileAndFoldersThatAreMissing) {
  TempDir dir;
  const std::string folder = dir.File("folder");
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  const std::string pipe = dir.File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0644), 0);
  const std::string lost = dir.File("missing/plan.pb");
  using Function = std::function<absl::Status(const std::string&)>;
  const Function functions[] = {
      [](const std::string& path) { return WriteFileAtomically(path, "x"); }, CheckWritable};
  for (const Function& function : functions) {
    for (const std::string& path : {folder, pipe, std::string("/dev/full")}) {
      ExpectError(function(path),
                  absl::StatusCode::kInvalidArgument,
                  {path + ": exists and is not a regular file"});
    }
    ExpectError(function(lost), absl::StatusCode::kNotFound, {lost + ": cannot create"});
    ExpectError(function(dir.File(std::string(300, 'n'))),
                absl::StatusCode::kInvalidArgument,
                {"cannot create"});
  }
  EXPECT_TRUE(FilesIn(folder).empty());
  EXPECT_EQ(FilesIn(dir.path()), (std::set<std::string>{"folder", "pipe"}));
}

TEST(CheckWritable, LeavesTheFolderAsItWas) {
  TempDir dir;
  EXPECT_TRUE(CheckWritable(dir.File("plan.pb")).ok());
  EXPECT_TRUE(FilesIn(dir.path()).empty());
  WriteTestFile(dir.File("plan.pb"), "old");
  EXPECT_TRUE(CheckWritable(dir.File("plan.pb")).ok());
  EXPECT_EQ(ReadTestFile(dir.File("plan.pb")), "old");
  EXPECT_EQ(FilesIn(dir.path()), std::set<std::string>{"plan.pb"});
}

TEST(MappedFile, GivesTheBytesOfTheFile) {
  TempDir dir;
  const std::string contents("some\0bytes\xff\n", 12);
  WriteTestFile(dir.File("f"), contents);
  absl::StatusOr<MappedFile> file = MappedFile::Open(dir.File("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->path(), dir.File("f"));
  const auto text = [](const MappedFile& f) {
    return std::string(reinterpret_cast<const char*>(f.bytes().data()), f.bytes().size());
  };
  EXPECT_EQ(text(*file), contents);
  EXPECT_EQ(*ReadFile(dir.File("f")), contents);

  // The bytes live on in what the mapping is moved to, and after the name is gone.
  MappedFile moved = *std::move(file);
  WriteTestFile(dir.File("other"), "other");
  MappedFile assigned = *MappedFile::Open(dir.File("other"));
  assigned = std::move(moved);
  std::filesystem::remove(dir.File("f"));
  EXPECT_EQ(text(assigned), contents);
  EXPECT_EQ(assigned.path(), dir.File("f"));
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  TempDir dir;
  WriteTestFile(dir.File("empty"), "");
  const absl::StatusOr<MappedFile> file = MappedFile::Open(dir.File("empty"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_EQ(*ReadFile(dir.File("empty")), "");
}

TEST(MappedFile, RefusesMissingFilesAndFolders) {
  TempDir dir;
  const std::string missing = dir.File("missing");
  ExpectError(
      MappedFile::Open(missing).status(), absl::StatusCode::kNotFound, {missing + ": cannot open"});
  ExpectError(ReadFile(missing).status(), absl::StatusCode::kNotFound, {missing});
  ExpectError(MappedFile::Open(dir.path()).status(),
              absl::StatusCode::kInvalidArgument,
              {dir.path() + ": not a regular file"});
}

TEST(MappedFile, ReleasedPagesLeaveMemoryAndReadBackTheSame) {
  const TempDir dir;
  const std::string path = dir.path() + "/large";
  std::string text(int64_t{8} << 20, 'x');
  for (size_t i = 0; i < text.size(); i += 97) text[i] = static_cast<char>('a' + i % 26);
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto same = [&](const std::span<const std::byte> bytes, size_t at) {
    return std::memcmp(bytes.data(), text.data() + at, bytes.size()) == 0;
  };
  ASSERT_TRUE(same(file->bytes(), 0));
  EXPECT_GE(ResidentKiB(path), 8 << 10);
  // A part whose ends lie within pages.
  const size_t begin = 5000;
  file->ReleasePages(file->bytes().subspan(begin, 4 << 20));
  EXPECT_LE(ResidentKiB(path), (4 << 10) + 8);
  EXPECT_GE(ResidentKiB(path), 1 << 10);  // large pages at the ends may go too
  EXPECT_TRUE(same(file->bytes(), 0));
  file->ReleasePages(file->bytes());
  EXPECT_LE(ResidentKiB(path), 8);
  file->ReleasePages(file->bytes().subspan(100, 10));  // no whole page
  EXPECT_TRUE(same(file->bytes().subspan(begin, 100), begin));
}

}  // namespace
}  // namespace bitbudget
