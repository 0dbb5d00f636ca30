"""Griffe's extension for the Python reference: formulas, examples, and classes made by `component`."""

import re
from typing import Any

from griffe import Class, Decorator, ExprName, Extension, Object

BLOCK = re.compile(r"^( *)\.\. math::\s*(.*?)(?=\n *\n|\Z)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r":math:`([^`]+)`")


class Docstrings(Extension):
    """Rewrite what docstrings share with other tools into what Markdown knows."""

    def on_class_instance(self, *, cls: Class, **_: Any) -> None:  # noqa: ANN401
        """Take `component` for the dataclass that it makes."""
        for decorator in cls.decorators:
            if str(decorator.value).rpartition(".")[2] == "component":
                dataclass = ExprName("dataclasses.dataclass")
                cls.decorators = [Decorator(dataclass, lineno=decorator.lineno, endlineno=decorator.endlineno)]

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401
        """Write formulas for MathJax, and a single example as the section that knows doctests."""
        if obj.docstring is not None:
            text = BLOCK.sub(lambda found: f"{found[1]}\\[{' '.join(found[2].split())}\\]", obj.docstring.value)
            text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
            obj.docstring.value = INLINE.sub(r"\\(\1\\)", text)
