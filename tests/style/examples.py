"""For every check of `checks.py`: code that it must catch, and the like that it must let pass."""

from tests.style import checks

ROOM = "server/instanter/decision/engine.py"
KERNEL = "server/instanter/kernels/scoring.py"

BAD: list[tuple[checks.Check, str, str]] = [
    (
        checks.check_arrays_are_described,
        ROOM,
        "def score(a: NDArray[Any]) -> int:\n    '''Sum.'''\n",
    ),
    (
        checks.check_arrays_are_described,
        ROOM,
        "class Table:\n    '''Weights.'''\n    weight: NDArray[np.int16]\n",
    ),
    (checks.check_exceptions_have_reasons, ROOM, "import os  # noqa\n"),
    (checks.check_exceptions_have_reasons, ROOM, "import os  # noqa: F401\n"),
    (checks.check_exceptions_have_reasons, ROOM, "x = f()  # type: ignore\n"),
    (checks.check_function_length, ROOM, "def f():\n" + "    x = 1\n" * 61),
    (
        checks.check_kernels_are_described,
        KERNEL,
        "@kernel(void(WRITE_F32))\ndef add(a):\n    '''Add float32.'''\n",
    ),
    (checks.check_module_length, ROOM, "x = 1\n" * 501),
    (checks.check_names_say_something, "server/instanter/store/utils.py", ""),
    (checks.check_names_say_something, "tests/store/record_helpers.py", ""),
    (checks.check_names_say_something, ROOM, "class OfferManager:\n    pass\n"),
    (checks.check_no_inheritance, ROOM, "class Fast(Engine):\n    pass\n"),
    (checks.check_no_machine_in_text, ROOM, f"# as in {checks.MACHINE_PATHS[0]}main\n"),
    (checks.check_no_machine_in_text, ROOM, f"URL = 'https://{checks.REGISTRY_HOSTS[0]}'\n"),
    (checks.check_no_open_ends, ROOM, "x = 1  # TO" + "DO: better\n"),
    (checks.check_no_print, ROOM, "print('decided')\n"),
    (checks.check_no_salted_hash, ROOM, "bucket = hash(name) % 100\n"),
    (checks.check_nothing_global, ROOM, "def f():\n    global x\n    x = 1\n"),
    (checks.check_significant_word_first, ROOM, "MAX_OFFERS = 3\n"),
    (checks.check_significant_word_first, ROOM, "class A:\n    num_offers: int\n"),
    (checks.check_time_is_given, ROOM, "import time\nnow = time.time_ns()\n"),
    (checks.check_time_is_given, ROOM, "from time import perf_counter\n"),
    (checks.check_time_is_given, ROOM, "now = datetime.datetime.now(UTC)\n"),
    (checks.check_values_are_frozen, ROOM, "@dataclass\nclass Offer:\n    name: str\n"),
    (checks.check_values_are_frozen, ROOM, "@dataclass(frozen=True)\nclass Offer:\n    x: int\n"),
]

GOOD: list[tuple[checks.Check, str, str]] = [
    (
        checks.check_arrays_are_described,
        ROOM,
        "def score(a: NDArray[np.float32]) -> int:\n    '''Sum `a`, float32[N].'''\n",
    ),
    (checks.check_arrays_are_described, ROOM, "def _score(a: NDArray[Any]) -> int:\n    pass\n"),
    (checks.check_exceptions_have_reasons, ROOM, "# It is re-exported.\nimport os  # noqa: F401\n"),
    (checks.check_exceptions_have_reasons, ROOM, "import os  # noqa: F401  # re-exported\n"),
    (checks.check_exceptions_have_reasons, ROOM, "x = '# noqa'\n"),
    (
        checks.check_values_are_frozen,
        ROOM,
        "@dataclass(slots=True)\nclass Offer:\n    '''One. Not frozen: 1 µs.'''\n    x: int\n",
    ),
    (
        checks.check_function_length,
        ROOM,
        "def f():\n    '''Do.\n" + "\n" * 50 + "    '''\n" + "    x = 1\n" * 60,
    ),
    (
        checks.check_kernels_are_described,
        KERNEL,
        "@kernel(void(WRITE_F32))\ndef clear(a):\n    '''Clear `a`, float32[N], written.'''\n",
    ),
    (checks.check_module_length, ROOM, "x = 1\n" * 500),
    (checks.check_names_say_something, "server/instanter/rpc/database.py", "class Basement: ...\n"),
    (checks.check_no_inheritance, ROOM, "class Slow(Protocol[T]):\n    pass\n"),
    (checks.check_no_inheritance, ROOM, "class Broken(UnavailableError):\n    pass\n"),
    (checks.check_no_machine_in_text, ROOM, "PLACE = 'web/home/hero'\n"),
    (checks.check_no_open_ends, ROOM, "x = 1  # TO" + "DO(#12): better\n"),
    (checks.check_no_print, "bench/decide.py", "print('table')\n"),
    (
        checks.check_no_salted_hash,
        ROOM,
        "class A:\n    def __hash__(self):\n        return hash(1)\n",
    ),
    (checks.check_nothing_global, ROOM, "def f():\n    x = 1\n"),
    (checks.check_significant_word_first, ROOM, "OFFERS_MAX = 3\n"),
    (checks.check_time_is_given, ROOM, "now = self._clock.now_ns()\ntime.sleep(1)\n"),
    (checks.check_time_is_given, "server/instanter/clock.py", "now = time.time_ns()\n"),
    (
        checks.check_values_are_frozen,
        ROOM,
        "@dataclass(frozen=True, slots=True)\nclass Offer:\n    name: str\n",
    ),
]
