"""The mechanical rules of plain English, over every text that the package holds.

Three kinds of texts are collected from the syntax trees, so that a new text is held to the rules without
being listed anywhere: messages (string literals that read as prose: errors, log lines, help), docstrings,
and comments.  The rules:

- noun: no sentence begins with What, Who, Whose, Those or Which as a noun; questions may.
- negation: a thing "is not a mode", never "is no mode".
- measure: "this long", "this many", never "so long", "so many".
- twice: no word or pair of words stands twice in a row.
- length: a sentence has up to LONGEST words, behind the first of a docstring up to LONGEST_INSIDE.

``docs/glossary.md`` says which word stands for which thing; CONTRIBUTING.md shows the rules by examples.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LONGEST = 25
#: In docstrings and comments behind the first sentence, which explain to those who read on.
LONGEST_INSIDE = 30

_RULES = (
    (
        "noun",
        re.compile(r"(?:^|[.!?;]\s+)(?:what(?:ever)?|who(?:ever|m)?|whose|those|which)\b", re.IGNORECASE),
    ),
    (
        "negation",
        re.compile(
            r"(?<!\b[Tt]here )\b(?:is|are|was|were|be) (?:no(?! longer| one\b)|none(?! of)|nobody|nothing)\b"
        ),
    ),
    ("measure", re.compile(r"\bso (?:long|many|few)\b(?! as\b)", re.IGNORECASE)),
    ("twice", re.compile(r"\b([a-z]{2,}(?: [a-z]+)?) \1\b(?<!that that)(?<!had had)(?<!taskd taskd)")),
)
#: A literal that is a program for something else: SQL, Lua, a regular expression, a format.
_NOT_PROSE = re.compile(
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|WHERE|PRAGMA|FROM|VALUES|UNION|ORDER BY|JOIN|ALTER)\b"
    r"|redis\.call|local function|\(\?[:=!P<]|\\[dswS]"
)
#: Comments that speak to a tool, and headings within a module.
_NOT_SAID = re.compile(r"(noqa|type:|fmt:|pragma|!|--? )")
_PLACEHOLDER = "<X>"
#: A part of a docstring whose lines are columns or a drawing.
_DRAWN = re.compile(r"\S {3,}\S|->|={4}")
#: Between two sentences; the names of the programs begin one as they are.
_SENTENCE_END = re.compile(r'(?<=[.!?])\s+(?=[A-Z"`(\[<0-9]|task(?:d|ctl)\b|faulthandler\b)')


@dataclass(frozen=True)
class Text:
    """One text with its place; a placeholder stands for each value that is filled in."""

    path: Path
    line: int
    said: str

    def problems(self, *, longest: int = LONGEST) -> Iterator[str]:
        """Return the rules that the text breaks, one line for each sentence and rule."""
        for sentence in sentences(self.said):
            for name, rule in _RULES:
                if rule.search(sentence) and not (name == "noun" and sentence.endswith("?")):
                    yield f"{self.path}:{self.line}: {name}: {sentence}"
            if (words := len(re.findall(r"\S*\w\S*", sentence))) > longest:
                yield f"{self.path}:{self.line}: length: {words} words, at most {longest}: {sentence}"


def sentences(text: str) -> Iterator[str]:
    """Return the sentences of a text; a paragraph, a list item and a row of a table end one, too."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|+=]|\d+\. ))", text):
        yield from _SENTENCE_END.split(re.sub(r"\s+", " ", paragraph).strip())


def spoken(text: Text) -> Text:
    """Return the text without its tables and drawings, and with each quotation of code as one word."""
    parts = [part for part in re.split(r"\n\s*\n", text.said) if not _DRAWN.search(part)]
    return Text(text.path, text.line, re.sub(r"``.+?``", "CODE", "\n\n".join(parts)))


def _once(kind: Callable[[Path], Iterator[Text]]) -> Callable[[Path], tuple[Text, ...]]:
    """Collect the texts of a file for the first test that asks, and keep them for the others."""
    return cache(lambda path: tuple(kind(path)))


@_once
def messages(path: Path) -> Iterator[Text]:
    """Return the literals that read as prose, clause by clause: a remedy follows a semicolon or a colon."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed = {id(node) for node in _docstring_nodes(tree)}
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
        text = _literal(node)
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= 3 and not _NOT_PROSE.search(text):
            for clause in re.split(r"(?<=[;:])\s+", text):
                yield Text(path, getattr(node, "lineno", 0), clause)


@_once
def docstrings(path: Path) -> Iterator[Text]:
    """Return the docstrings of the module, its classes and its functions."""
    for node in _docstring_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        yield Text(path, node.lineno, str(node.value))


@_once
def comments(path: Path) -> Iterator[Text]:
    """Return the comments; lines that follow one another with the same indentation are one."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: list[tuple[int, int, list[str]]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        said = token.string.lstrip("#:").strip()
        stands_alone = not lines[row - 1][:column].strip()
        if found and stands_alone and found[-1][0] + len(found[-1][2]) == row and found[-1][1] == column:
            found[-1][2].append(said)
        else:
            found.append((row, column if stands_alone else -1, [said]))
    for row, _, parts in found:
        if not _NOT_SAID.match(parts[0]):
            yield Text(path, row, " ".join(parts))


def helps(path: Path) -> Iterator[Text]:
    """Return the help of each option: of a key of the configuration, of a command, of an argument."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        named = ast.unparse(node.func)
        if named in {"option", "_live"} and len(node.args) > 1:
            text = _literal(node.args[1])
            if len(text.split()) > 1:
                yield Text(path, node.lineno, text)
        for keyword in node.keywords:
            text = _literal(keyword.value)
            if keyword.arg == "help" and len(text.split()) > 1 and "Example: " not in text:
                yield Text(path, node.lineno, text)


def _literal(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_literal(part) or _PLACEHOLDER for part in parts)
    return ""


def _docstring_nodes(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str()) as constant):
                    yield constant
