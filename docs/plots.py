"""Draw the pictures of plots.md: its own code, run where the pictures lie."""

import contextlib
import doctest
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

HERE = Path(__file__).parent


def main(folder: Path) -> int:
    """Run the page's code in a folder, for it saves its pictures where it runs; return how many lines print something else."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "plots.md").read_text(), flags=re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "plots", "plots.md", 0)
    with contextlib.chdir(folder):
        return doctest.DocTestRunner().run(examples).failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images") > 0)
