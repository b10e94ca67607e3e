#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

// Text as roff takes it: no line may begin with a control character, and long lists of names may be
// broken at their commas.
std::string Roff(const std::string& text) {
  std::string escaped = absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}, {",", ",\\:"}});
  if (!escaped.empty() && (escaped[0] == '.' || escaped[0] == '\'')) {
    escaped.insert(0, "\\&");
  }
  return absl::StrReplaceAll(escaped, {{"\n.", "\n\\&."}, {"\n'", "\n\\&'"}});
}

// Lines that stay as they are.
std::string Verbatim(const std::string& text) {
  std::string out = ".nf\n";
  for (const auto& line : absl::StrSplit(text, '\n')) {
    absl::StrAppend(&out, Roff(std::string(line)), "\n");
  }
  return out + ".fi\n";
}

void AddOptionEntries(const CLI::App& command, std::string* page) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name(/*positional=*/false, /*all_options=*/true);
    const bool positional = option->get_positional();
    const bool flag = option->get_items_expected_max() == 0;
    absl::StrAppend(page,
                    ".TP\n.B ",
                    Roff(positional ? option->get_name(true) : name),
                    !positional && !flag ? " \\fIVALUE\\fR" : "",
                    "\n",
                    Roff(option->get_description()));
    if (!option->get_default_str().empty()) {
      absl::StrAppend(page, " (default: ", Roff(option->get_default_str()), ")");
    }
    page->append("\n");
  }
  for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (part->get_name().empty()) AddOptionEntries(*part, page);
  }
}

void AddCommandSection(const CLI::App& command, const std::string& parents, std::string* page) {
  const std::string name = absl::StrCat(parents, command.get_name());
  absl::StrAppend(page, ".SS bitbudget ", Roff(name), "\n", Roff(command.get_description()), ".\n");
  AddOptionEntries(command, page);
  if (!command.get_footer().empty()) {
    absl::StrAppend(page, ".PP\n", Verbatim(command.get_footer()));
  }
  for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!part->get_name().empty()) AddCommandSection(*part, name + " ", page);
  }
}

std::string ManualPage(const CLI::App& app) {
  std::string page =
      absl::StrCat(".TH BITBUDGET 1 \"\" \"bitbudget ",
                   BITBUDGET_VERSION,
                   "\" \"User Commands\"\n.SH NAME\nbitbudget \\- fit a language model "
                   "into a memory budget\n.SH SYNOPSIS\n.B bitbudget\n\\fICOMMAND\\fR "
                   "[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n",
                   Roff(app.get_description()),
                   "\n.SH OPTIONS\n");
  AddOptionEntries(app, &page);
  page += ".SH COMMANDS\n";
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_name().empty()) AddCommandSection(*command, "", &page);
  }
  absl::StrAppend(&page, ".SH NOTES\n", Verbatim(app.get_footer()));
  return page;
}

}  // namespace

void AddManualCommand(CLI::App* app) {
  CLI::App* command = AddCommand(
      app, "manual", "Print the --help of every command as a manual page", {"manual | man -l -"});
  SetBody(command, [app] {
    std::printf("%s", ManualPage(*app).c_str());
    return absl::OkStatus();
  });
}

}  // namespace bitbudget
