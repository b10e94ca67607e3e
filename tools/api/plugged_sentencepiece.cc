// SentencePieceShim by a plugin, for libbitbudget.so (cmake/protobuf_beside_sentencepiece.cmake).

#include <dlfcn.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/model/tokenizer/sentencepiece_shim.h"
#include "tools/api/sentencepiece_plugin.h"

namespace bitbudget {
namespace {

using api::SentencePieceFunctions;

struct Plugin {
  const SentencePieceFunctions* functions = nullptr;
  std::string error;
};

// It lies beside libbitbudget.so or where the dynamic linker looks, and stays loaded.
Plugin LoadPlugin() {
  Plugin plugin;
  // DEEPBIND: its own protobuf comes before that of whoever loads libbitbudget.so.
  void* const file = dlopen(BITBUDGET_SENTENCEPIECE_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  const void* symbol = file == nullptr ? nullptr : dlsym(file, api::kSentencePieceFunctions);
  plugin.functions = static_cast<const SentencePieceFunctions*>(symbol);
  if (symbol == nullptr) plugin.error = dlerror();
  return plugin;
}

const Plugin& ThePlugin() {
  static const Plugin* const plugin = new Plugin(LoadPlugin());
  return *plugin;
}

void SetText(void* text, const char* bytes, size_t size) {
  static_cast<std::string*>(text)->assign(bytes, size);
}

}  // namespace

struct SentencePieceShim::Impl {
  Impl(const SentencePieceFunctions& functions, void* model) : functions(functions), model(model) {}
  ~Impl() { functions.close(model); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const SentencePieceFunctions& functions;
  void* const model;
};

SentencePieceShim::SentencePieceShim(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SentencePieceShim::~SentencePieceShim() = default;

std::unique_ptr<SentencePieceShim> SentencePieceShim::Load(const std::string& bytes,
                                                           std::string* error) {
  const Plugin& plugin = ThePlugin();
  if (plugin.functions == nullptr) {
    *error = plugin.error;
    return nullptr;
  }
  void* const model = plugin.functions->open(bytes.data(), bytes.size(), SetText, error);
  if (model == nullptr) return nullptr;
  return std::unique_ptr<SentencePieceShim>(
      new SentencePieceShim(std::make_unique<Impl>(*plugin.functions, model)));
}

int SentencePieceShim::size() const { return impl_->functions.size(impl_->model); }

bool SentencePieceShim::Encode(const std::string& text,
                               std::vector<int>* ids,
                               std::string* error) const {
  struct Sinks {
    std::vector<int>* ids;
    std::string* error;
  } sinks = {ids, error};
  ids->clear();
  return impl_->functions.encode(
      impl_->model,
      text.data(),
      text.size(),
      [](void* context, int id) { static_cast<Sinks*>(context)->ids->push_back(id); },
      [](void* context, const char* reason, size_t size) {
        static_cast<Sinks*>(context)->error->assign(reason, size);
      },
      &sinks);
}

bool SentencePieceShim::Decode(const std::vector<int>& ids, std::string* text) const {
  return impl_->functions.decode(impl_->model, ids.data(), ids.size(), SetText, text);
}

bool SentencePieceShim::IsSpecial(int id) const {
  return impl_->functions.is_special(impl_->model, id);
}

}  // namespace bitbudget
