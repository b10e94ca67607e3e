"""Tables between markers in Markdown: <!-- results:NAME --> and <!-- /results:NAME -->."""
import re


def _pattern(name):
    return re.compile(rf"(<!-- results:{re.escape(name)} -->\n)(.*?)(<!-- /results:{re.escape(name)} -->)", re.DOTALL)


def read(page, name):
    """What stands between the markers; raises ValueError where they are not there exactly once."""
    found = _pattern(name).findall(page.read_text())
    if len(found) != 1:
        raise ValueError(f"{page}: {len(found)} pairs of markers results:{name}, 1 expected")
    return found[0][1]


def write(page, name, text):
    """Replaces what stands between the markers, in one step."""
    read(page, name)
    # A function, since backslashes in the text are no group references.
    replaced = _pattern(name).sub(lambda m: f"{m[1]}\n{text.strip()}\n\n{m[3]}", page.read_text())
    partial = page.with_suffix(".partial")
    partial.write_text(replaced)
    partial.rename(page)


def is_full(text):
    """Whether a table was measured in full, by the line that main.py writes above it."""
    return text.lstrip().startswith("*Full run")
