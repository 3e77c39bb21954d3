"""The online model: what it makes of a transaction's figures, and how a label teaches it."""

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_words import StandInCause
from instanter.errors import DamagedError
from instanter.fraud.book import Book
from instanter.fraud.questions import CountedTransaction
from instanter.fraud.tables import FraudTables
from instanter.kernels.fraud_model import count_model_words, learn_fraud, predict_fraud
from instanter.kernels.fraud_scoring import gather_features


class FraudLearner:
    """Predicts and learns by the model of one catalogue that has one.

    Parameters
    ----------
    tables
        With a model.
    """

    __slots__ = ("_features", "_model_id", "_none", "_plan", "_points", "_size_bytes")

    def __init__(self, tables: FraudTables) -> None:
        model = tables.policy.model
        assert model is not None, "the caller has looked"
        self._plan = tables.plan
        self._model_id = model.model_id
        self._points = model.points
        count = len(tables.plan.feature_slot)
        self._features = np.zeros(count, np.float32)
        self._none = np.zeros(0, np.float32)
        self._size_bytes = 4 * count_model_words(count, len(tables.plan.feature_pairs))

    def gather(self, figures: NDArray[np.uint32]) -> bytes:
        """Return what the model looks at, as it is kept until the label comes.

        Parameters
        ----------
        figures
            uint32[F], read-only: of the transaction.
        """
        plan = self._plan
        gather_features(figures, plan.feature_slot, plan.feature_is_code, self._features)
        return self._features.tobytes()

    def predict(self, book: Book, causes: list[StandInCause]) -> tuple[float, float]:
        """Return the probability of what was gathered last, and its points.

        A damaged model says nothing: NaN and no points, and the stand-in table answers.
        """
        plan = self._plan
        try:
            state = self.read(book)
        except DamagedError:
            if StandInCause.STATE_DAMAGED not in causes:
                causes.append(StandInCause.STATE_DAMAGED)
            return float("nan"), 0.0
        rate = predict_fraud(state, self._features, plan.feature_pairs, plan.model_settings)
        return rate, rate * self._points

    def learn(self, counted: CountedTransaction, book: Book, *, fraud: bool) -> None:
        """Learn a label from the figures as they were; nothing when another model saw them."""
        if counted.model_id != self._model_id or not counted.features:
            return
        plan = self._plan
        features = np.frombuffer(counted.features, np.float32)
        assert len(features) == len(plan.feature_slot), "a model's id stands for its features"
        try:
            known = self.read(book)
        except DamagedError:
            # What is damaged is never read again; the model begins anew, from this label on.
            known = self._none
        state = np.zeros(self._size_bytes // 4, np.float32)
        state[: len(known)] = known
        label = 1.0 if fraud else 0.0
        learn_fraud(features, plan.feature_pairs, label, plan.model_settings, state)
        book.put_model(self._model_id, state.tobytes())

    def read(self, book: Book) -> NDArray[np.float32]:
        """Return the state of the model, float32[n], empty when it has learned nothing.

        Raises
        ------
        DamagedError
            It is not what was written.
        """
        state = book.find_model(self._model_id)
        if not state:
            return self._none
        if len(state) != self._size_bytes:
            raise DamagedError(f"the model's state has {len(state)} bytes, not {self._size_bytes}")
        return np.frombuffer(state, np.float32)
