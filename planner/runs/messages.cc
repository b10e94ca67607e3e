#include "planner/runs/messages.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

template <typename T, typename Field>
void Fill(std::span<const T> values, Field* field) {
  field->Add(values.begin(), values.end());
}

template <typename T, typename Field>
std::vector<T> ValuesOf(const Field& field) {
  return {field.begin(), field.end()};
}

}  // namespace

std::string Serialize(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString();
}

absl::Status DamagedMessage(absl::string_view what, absl::string_view where) {
  return absl::DataLossError(absl::StrCat("damaged ", what, " from ", where));
}

void ToMessage(std::span<const ProbeResult> results, messages::Results* message) {
  for (const ProbeResult& result : results) {
    message->add_tokens(result.tokens);
    message->add_fdt(result.fdt);
    message->add_sdt(result.sdt);
    message->add_nll_sum(result.nll_sum);
    message->add_kl_sum(result.kl_sum);
    message->add_text_tokens(result.text.tokens);
    message->add_text_misses(result.text.misses);
    message->add_text_nll_sum(result.text.nll_sum);
    message->add_text_kl_sum(result.text.kl_sum);
    Fill<float>(result.text.kls, message->add_text_kls()->mutable_kls());
  }
}

absl::StatusOr<Evaluation> FromMessage(const messages::Results& message, absl::string_view where) {
  const int count = message.tokens_size();
  for (const int size : {message.fdt_size(),
                         message.sdt_size(),
                         message.nll_sum_size(),
                         message.kl_sum_size(),
                         message.text_tokens_size(),
                         message.text_misses_size(),
                         message.text_nll_sum_size(),
                         message.text_kl_sum_size(),
                         message.text_kls_size()}) {
    if (size != count) return DamagedMessage("results", where);
  }
  Evaluation results(count);
  for (int i = 0; i < count; ++i) {
    const int kls = message.text_kls(i).kls_size();
    if (kls != 0 && kls != message.text_tokens(i)) return DamagedMessage("results", where);
    results[i] = {message.tokens(i),
                  message.fdt(i),
                  message.sdt(i),
                  message.nll_sum(i),
                  message.kl_sum(i),
                  {message.text_tokens(i),
                   message.text_misses(i),
                   message.text_nll_sum(i),
                   message.text_kl_sum(i),
                   ValuesOf<float>(message.text_kls(i).kls())}};
  }
  return results;
}

std::string SerializeResults(std::span<const ProbeResult> results) {
  messages::Results message;
  ToMessage(results, &message);
  return Serialize(message);
}

absl::StatusOr<Evaluation> ParseResults(absl::string_view bytes, absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message, Parse<messages::Results>(bytes, "results", where));
  return FromMessage(message, where);
}

std::string SerializeSequences(std::span<const std::vector<int32_t>> sequences) {
  messages::Sequences message;
  for (const std::vector<int32_t>& sequence : sequences) {
    Fill<int32_t>(sequence, message.add_sequences()->mutable_tokens());
  }
  return Serialize(message);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ParseSequences(absl::string_view bytes,
                                                                 absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message, Parse<messages::Sequences>(bytes, "prompts", where));
  std::vector<std::vector<int32_t>> sequences;
  for (const auto& sequence : message.sequences()) {
    sequences.push_back(ValuesOf<int32_t>(sequence.tokens()));
  }
  return sequences;
}

std::string SerializeCompletions(std::span<const Generation> completions) {
  messages::Completions message;
  for (const Generation& completion : completions) {
    messages::Completions::Completion* sent = message.add_completions();
    Fill<int32_t>(completion.tokens, sent->mutable_tokens());
    Fill<float>(completion.margins, sent->mutable_margins());
    Fill<int32_t>(completion.likely, sent->mutable_likely());
  }
  return Serialize(message);
}

absl::StatusOr<std::vector<Generation>> ParseCompletions(absl::string_view bytes,
                                                         int64_t count,
                                                         absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message,
                      Parse<messages::Completions>(bytes, "completions", where));
  if (message.completions_size() != count) return DamagedMessage("completions", where);
  std::vector<Generation> completions;
  for (const auto& sent : message.completions()) {
    completions.push_back({ValuesOf<int32_t>(sent.tokens()),
                           ValuesOf<float>(sent.margins()),
                           ValuesOf<int32_t>(sent.likely())});
  }
  return completions;
}

std::string SerializeMoments(const InputMoments& moments) {
  messages::InputMoments message;
  for (const auto& [id, squares] : moments) {
    messages::InputMoments::Component* component = message.add_components();
    component->set_id(id);
    Fill<float>(squares, component->mutable_squares());
  }
  return Serialize(message);
}

absl::StatusOr<InputMoments> ParseMoments(absl::string_view bytes, absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message,
                      Parse<messages::InputMoments>(bytes, "input moments", where));
  InputMoments moments;
  for (const auto& component : message.components()) {
    moments[component.id()] = ValuesOf<float>(component.squares());
  }
  return moments;
}

std::string SerializeLayerOrder(std::span<const int> layers) {
  messages::LayerOrder message;
  Fill<int>(layers, message.mutable_layers());
  return Serialize(message);
}

absl::StatusOr<std::vector<int>> ParseLayerOrder(absl::string_view bytes, absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message, Parse<messages::LayerOrder>(bytes, "layer order", where));
  return ValuesOf<int>(message.layers());
}

std::string SerializeOutputErrors(std::span<const double> errors) {
  messages::OutputErrors message;
  Fill<double>(errors, message.mutable_errors());
  return Serialize(message);
}

absl::StatusOr<std::vector<double>> ParseOutputErrors(absl::string_view bytes,
                                                      int64_t count,
                                                      absl::string_view where) {
  BB_ASSIGN_OR_RETURN(const auto message,
                      Parse<messages::OutputErrors>(bytes, "output errors", where));
  if (message.errors_size() != count) return DamagedMessage("output errors", where);
  return ValuesOf<double>(message.errors());
}

}  // namespace bitbudget
