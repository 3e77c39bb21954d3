"""What a program can check of the house style, module by module.

A check takes one module and yields its complaints. `examples.py` holds, for every check, a bad
snippet that it must catch and a good one that it must not.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

VAGUE_WORDS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

# Spelled in pieces, so that this file does not complain about itself.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "deb" + "ian.org/")
MACHINE_PATHS = ("/wor" + "k/", "/ho" + "me/", "/ro" + "ot/", "/Use" + "rs/", "/o" + "pt/")

CLOCKS = {
    "clock_gettime", "clock_gettime_ns", "monotonic", "monotonic_ns", "perf_counter",
    "perf_counter_ns", "time", "time_ns",
}  # fmt: skip
PARENTS = {
    "Enum", "Generic", "IntEnum", "IntFlag", "NamedTuple", "Protocol", "StrEnum", "Struct",
    "TypedDict",
}  # fmt: skip
PARENT_SUFFIXES = ("Error", "Exception", "Interceptor", "Protocol", "Servicer", "Group", "Column")
# Kernels state their types in the decorator, and libraries without types are named once, in the
# settings of mypy; these explain themselves.
TYPELESS = {f"# type: ignore[{code}]" for code in ("no-untyped-def", "no-any-return")}
DTYPE = re.compile(r"\b(u?int(8|16|32|64)|float(32|64)|bool)\b")


@dataclass(frozen=True)
class Module:
    """One Python module: its path below the project's root, its text, its tree.

    What many checks look at is found once.
    """

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "Module":
        return cls(path, text, ast.parse(text))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def comments(self) -> tuple[tuple[int, str], ...]:
        """Return line and text of each comment."""
        return tuple(
            (token.start[0], token.string)
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type == tokenize.COMMENT
        )

    @property
    def in_product(self) -> bool:
        return self.path.startswith(("server/", "clients/"))

    @property
    def room(self) -> str:
        parts = PurePosixPath(self.path).parts
        return parts[2] if len(parts) > 3 else ""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a check found, and where."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


Check = Callable[[Module], Iterator[Complaint]]


def check_module_length(module: Module) -> Iterator[Complaint]:
    count = module.text.count("\n")
    if count > MODULE_LINES_MAX:
        yield Complaint(module.path, 1, f"{count} lines; a module has at most {MODULE_LINES_MAX}")


def check_function_length(module: Module) -> Iterator[Complaint]:
    for node in _functions(module):
        # The signature is no code: a command's options take a line each, and so do a kernel's.
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
        if lines > FUNCTION_LINES_MAX:
            text = f"{node.name} has {lines} lines; a function has at most {FUNCTION_LINES_MAX}"
            yield Complaint(module.path, node.lineno, text)


def check_names_say_something(module: Module) -> Iterator[Complaint]:
    stem = PurePosixPath(module.path).stem
    words = {stem: 1} | {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name): node.lineno
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    }
    for name, line in words.items():
        vague = VAGUE_WORDS & set(name.lower().split("_"))
        if vague:
            text = f"{name}: {', '.join(sorted(vague))} says nothing; name what it is about"
            yield Complaint(module.path, line, text)


def check_significant_word_first(module: Module) -> Iterator[Complaint]:
    for name, line in _defined_names(module):
        if re.match(r"_?(max|min|num|total)_", name.lower()):
            text = f"{name}: the most significant word comes first, as in `size_bytes_max`"
            yield Complaint(module.path, line, text)


def check_no_machine_in_text(module: Module) -> Iterator[Complaint]:
    # Most modules have none of them: lines are looked at only for those that stand somewhere.
    words = [word for word in (*REGISTRY_HOSTS, *MACHINE_PATHS) if word in module.text]
    for line, text in enumerate(module.text.splitlines() if words else [], 1):
        for word in words:
            # Inside a longer path such a word can be a placement's name; at its beginning not.
            if re.search(rf"(?<![\w.]){re.escape(word)}", text):
                yield Complaint(module.path, line, f"{word} belongs to one machine")


def check_no_open_ends(module: Module) -> Iterator[Complaint]:
    marks = "TO" + "DO|FIX" + "ME|XX" + "X|HA" + "CK"
    for line, text in module.comments:
        if re.search(rf"\b({marks})\b(?!\(#\d+\))", text):
            yield Complaint(module.path, line, "an open end without an issue's number")


def check_exceptions_have_reasons(module: Module) -> Iterator[Complaint]:
    """A rule that is switched off needs a reason behind it, or in the comment above."""
    lines = module.text.splitlines()
    for line, text in module.comments:
        found = re.match(r"#\s*(noqa|type:\s*ignore)", text)
        # Types of the tests are not checked.
        if not found or (found[1] != "noqa" and module.path.startswith("tests/")):
            continue
        if text in TYPELESS:
            continue
        rest = re.match(r"#\s*(?:noqa:\s*[A-Z]+\d+|type:\s*ignore\[[\w, -]+\])(.*)", text)
        if not rest:
            yield Complaint(module.path, line, "says not which rule it switches off")
        elif not rest[1].strip(" #") and not lines[line - 2].lstrip().startswith("#"):
            yield Complaint(module.path, line, "says not why the rule is switched off")


def check_no_print(module: Module) -> Iterator[Complaint]:
    for call in _calls(module):
        if module.in_product and _dotted(call.func) == "print":
            yield Complaint(module.path, call.lineno, "the product never prints")


def check_time_is_given(module: Module) -> Iterator[Complaint]:
    if not module.path.startswith("server/") or module.path.endswith("/clock.py"):
        return
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            names = {alias.name for alias in node.names} & CLOCKS
            if names:
                yield Complaint(module.path, node.lineno, "time comes from a Clock")
        if isinstance(node, ast.Attribute):
            name = _dotted(node)
            reads_now = name.endswith(("datetime.now", "datetime.utcnow", "date.today"))
            if reads_now or (name.startswith("time.") and node.attr in CLOCKS):
                yield Complaint(module.path, node.lineno, f"{name}: time comes from a Clock")


def check_no_salted_hash(module: Module) -> Iterator[Complaint]:
    allowed = {
        id(inner)
        for node in _functions(module)
        if node.name == "__hash__"
        for inner in ast.walk(node)
    }
    for call in _calls(module):
        if _dotted(call.func) == "hash" and id(call) not in allowed:
            yield Complaint(module.path, call.lineno, "hash() differs from process to process")


def check_nothing_global(module: Module) -> Iterator[Complaint]:
    for node in module.nodes:
        if isinstance(node, ast.Global):
            yield Complaint(module.path, node.lineno, "nothing is global: give it to a constructor")


def check_no_inheritance(module: Module) -> Iterator[Complaint]:
    if not module.in_product:
        return
    for node in module.nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        for parent in node.bases:
            name = _dotted(parent.value if isinstance(parent, ast.Subscript) else parent)
            last = name.rpartition(".")[2]
            if last not in PARENTS and not last.endswith(PARENT_SUFFIXES):
                text = f"{node.name} inherits from {name}; compose, or state a Protocol"
                yield Complaint(module.path, node.lineno, text)


def check_values_are_frozen(module: Module) -> Iterator[Complaint]:
    if not module.in_product:
        return
    for node in module.nodes:
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else []:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if _dotted(call).rpartition(".")[2] != "dataclass":
                continue
            given = {
                keyword.arg
                for keyword in (decorator.keywords if isinstance(decorator, ast.Call) else [])
                if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            }
            # One that is made for every request may say in its docstring what freezing would cost.
            excused = "Not frozen" in (ast.get_docstring(node) or "")
            if "slots" not in given or ("frozen" not in given and not excused):
                text = f"{node.name}: a dataclass is a value, frozen and slotted"
                yield Complaint(module.path, node.lineno, text)


def check_arrays_are_described(module: Module) -> Iterator[Complaint]:
    if not module.path.startswith("server/"):
        return
    classes = [node for node in module.tree.body if isinstance(node, ast.ClassDef)]
    # What is defined inside of a function is nobody's to read.
    for node in [*module.tree.body, *(inner for outer in classes for inner in outer.body)]:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or not _mentions_array(node):
            continue
        text = ast.get_docstring(node) or ""
        if not DTYPE.search(text):
            yield Complaint(
                module.path, node.lineno, f"{node.name}: its docstring names no dtype of its arrays"
            )


def check_kernels_are_described(module: Module) -> Iterator[Complaint]:
    """A public kernel that writes into arrays says which, and what they hold."""
    if module.room != "kernels":
        return
    for node in _functions(module):
        calls = [item for item in node.decorator_list if isinstance(item, ast.Call)]
        signature = " ".join(ast.unparse(c) for c in calls if _dotted(c.func) == "kernel")
        if node.name.startswith("_") or "WRITE_" not in signature:
            continue
        text = ast.get_docstring(node) or ""
        if not DTYPE.search(text) or "writ" not in text:
            yield Complaint(
                module.path, node.lineno, f"{node.name}: say dtype, shape, and what is written"
            )


def _mentions_array(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    if isinstance(node, ast.ClassDef):
        notes = [item.annotation for item in node.body if isinstance(item, ast.AnnAssign)]
    else:
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        notes = [item.annotation for item in every if item.annotation]
        notes += [node.returns] if node.returns else []
    return any("NDArray" in ast.unparse(note) for note in notes)


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _calls(module: Module) -> Iterator[ast.Call]:
    for node in module.nodes:
        if isinstance(node, ast.Call):
            yield node


def _defined_names(module: Module) -> Iterator[tuple[str, int]]:
    """Names of constants and fields that we define; arguments are often somebody else's words."""
    bodies = [module.tree.body]
    bodies += [node.body for node in module.nodes if isinstance(node, ast.ClassDef)]
    for body in bodies:
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.lineno


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


CHECKS: tuple[Check, ...] = (
    check_arrays_are_described,
    check_exceptions_have_reasons,
    check_function_length,
    check_kernels_are_described,
    check_module_length,
    check_names_say_something,
    check_no_inheritance,
    check_no_machine_in_text,
    check_no_open_ends,
    check_no_print,
    check_no_salted_hash,
    check_nothing_global,
    check_significant_word_first,
    check_time_is_given,
    check_values_are_frozen,
)
