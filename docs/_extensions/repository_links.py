"""Links of pages to files outside docs/, which a repository's web view follows, as links to their pages of the site."""

import posixpath
import re

import programs
from sphinx.application import Sphinx

#: Files of the repository that are pages of the site.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "developers.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\]\((\.\./[^)#\s]+)")


def redirect(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links that leave docs/ to a page where there is one; others become downloads."""
    here = posixpath.dirname(posixpath.join("docs", docname))
    pages = PAGES | {f"examples/{name}.py": f"gallery/{name}.rst" for name in programs.all_programs()}

    def target(found: re.Match[str]) -> str:
        page = pages.get(posixpath.normpath(posixpath.join(here, found[1])))
        return f"](/{page}" if page else found[0]

    source[0] = LINK.sub(target, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of every page."""
    app.connect("source-read", redirect)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
