#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_SHIM_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_SHIM_H_

#include <memory>
#include <string>
#include <vector>

// sentencepiece_processor.h declares absl::string_view as std::string_view, which clashes with
// Abseil's own. So only sentencepiece_shim.cc includes it, and this header uses std types alone.

namespace bitbudget {

class SentencePieceShim {
 public:
  // Null, with the reason in `error`, when the bytes are not a SentencePiece model.
  static std::unique_ptr<SentencePieceShim> Load(const std::string& bytes, std::string* error);
  ~SentencePieceShim();

  int size() const;
  // False, with the reason in `error`, when the library fails.
  bool Encode(const std::string& text, std::vector<int>* ids, std::string* error) const;
  bool Decode(const std::vector<int>& ids, std::string* text) const;
  // Control, unknown or unused. REQUIRES: 0 <= id < size().
  bool IsSpecial(int id) const;

 private:
  struct Impl;
  explicit SentencePieceShim(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_SHIM_H_
