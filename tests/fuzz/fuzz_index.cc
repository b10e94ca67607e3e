// A model.safetensors.index.json from a stranger, beside two files of tensors: any bytes give the
// tensors of the files that it names, or one line.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "runtime/model/checkpoint/safetensors.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bitbudget::TempDir* const folder = [] {
    const auto* made = new bitbudget::TempDir;
    for (const std::string name : {"a", "b"}) {
      bitbudget::WriteTestFile(
          made->File(name + ".safetensors"),
          bitbudget::SafetensorsFile({{name, "F32", {1, 2}, std::string(8, '\0')}}));
    }
    return made;
  }();
  bitbudget::WriteTestFile(folder->File("model.safetensors.index.json"),
                           {reinterpret_cast<const char*>(data), size});
  const auto archive = bitbudget::SafetensorsArchive::Open(folder->path());
  if (!archive.ok()) {
    const absl::string_view message = archive.status().message();
    if (message.find('\n') != absl::string_view::npos || message.size() > 1000) abort();
    return 0;
  }
  if (archive->files.size() != archive->tensors.size() || archive->tensors.size() > 2) abort();
  return 0;
}
