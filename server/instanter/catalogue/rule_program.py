"""A rule program: rules as plain arrays, which `kernels/eligibility` evaluates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RuleProgram:
    """All rules of a catalogue as one program for `kernels/eligibility`.

    Values are one float64 vector: `[constants | inputs | terms]`. A missing value is NaN, and so
    is arithmetic without a result (0 ÷ 0). From it follow the truths of `[predicates | nodes]`,
    0 false, 1 unknown (something needed is missing), 2 true. `&&` is the minimum, `||` the
    maximum, `!` is 2 − x (Kleene's strong three-valued logic), and by De Morgan one kind of node,
    AND over literals, is enough; so no instruction is ever dispatched on. A *literal* is
    `2 × index + inverted`; the kernel's vector of truths holds one byte for each literal, so that
    `truths[literal]` is its truth and reading an inverted one costs nothing.

    Attributes
    ----------
    constants
        float64[C].
    input_slot, input_source
        int32[I], uint8[I]: where input i comes from. Source 0: profile slot read as float32; 1:
        profile slot read as uint32; 2, 3: the same for context slots; 4: the decision's time in
        seconds since 1970 (slot is 0).
    term_op, term_a, term_b
        uint8[T], int32[T], int32[T]: arithmetic over earlier values; 0 a + b, 1 a − b, 2 a × b,
        3 a ÷ b, 4 −a. NaN stays NaN.
    predicate_value, predicate_low, predicate_high, predicate_missing
        int32[P], float64[P], float64[P], uint8[P]: the truth is `predicate_missing` (0 or 1) when
        the value is NaN; else 2 when low ≤ value ≤ high, else 0.
    node_start, node_literal
        int32[N + 1], int32[E]: node n is the minimum over the literals
        `node_literal[node_start[n]:node_start[n + 1]]`. Literals refer to predicates or to
        earlier nodes only. A node without literals is true.
    """

    constants: NDArray[np.float64]
    input_slot: NDArray[np.int32]
    input_source: NDArray[np.uint8]
    term_op: NDArray[np.uint8]
    term_a: NDArray[np.int32]
    term_b: NDArray[np.int32]
    predicate_value: NDArray[np.int32]
    predicate_low: NDArray[np.float64]
    predicate_high: NDArray[np.float64]
    predicate_missing: NDArray[np.uint8]
    node_start: NDArray[np.int32]
    node_literal: NDArray[np.int32]

    @property
    def value_count(self) -> int:
        """Length of the vector of values."""
        return len(self.constants) + len(self.input_slot) + len(self.term_op)

    @property
    def truth_count(self) -> int:
        """Length of the vector of truths: one for each literal."""
        return 2 * (len(self.predicate_value) + len(self.node_start) - 1)
