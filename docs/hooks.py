"""What the site adds to its pages: the READMEs of the studies, and formulas as MathML.

Browsers draw MathML by themselves, so the pages need no script and no network for a formula.
"""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
SOURCE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./\.\./([^)]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the README, the figures and the settings of every study."""
    for path in sorted(ROOT.glob("studies/*/*")):
        if path.suffix in {".png", ".toml"} or path.name == "README.md":
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that hold in the repository become links of the site.

    The studies lie beside the other pages there, and the source is no page: a study's links into
    it become paths.
    """
    if not page.file.src_uri.startswith("studies/"):
        return markdown.replace("](../studies/", "](studies/")
    return SOURCE_LINK.sub(r"\1 (`\2`)", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Put MathML for every formula."""

    def drawn(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        return str(convert(html.unescape(found[2]).strip(), display=display))

    return FORMULA.sub(drawn, content)
