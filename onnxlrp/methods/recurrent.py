"""The preset for recurrent networks: rules for gates and products beside the epsilon rule."""

from __future__ import annotations

from ..composites import Composite, Match
from ..errors import UsageError
from ..rules import Rule
from ..rules.lrp import Epsilon, Norm, ZPlus
from ..rules.product import Proportional, Signal, Uniform
from .presets import lrp
from .registry import preset

PRODUCTS = ("all", "half", "prop", "abs")


@preset
def recurrent(product: str = "all", epsilon: float = 1e-3, stabilizer: float = 1e-6) -> Composite:
    """Epsilon with a large ε, gates take nothing: LSTM, GRU and RNN (Arras et al. 2017, 2019).

    Args:
        product: What a gate takes of the relevance of a product. "all": nothing, the signal takes all; "half": half;
            "prop": the share of its value in the sum of both; "abs": that of its absolute value.
        epsilon: ε of the epsilon rule in dense layers and of shares in sums, as in the paper.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    Raises:
        UsageError: There is no such share of gates.

    References:
        Arras et al., Explaining recurrent neural network predictions in sentiment analysis, WASSA 2017.
        Arras et al., Explaining and interpreting LSTMs, in Explainable AI, Springer 2019.
    """
    rules: dict[str, Rule] = {
        "all": Signal(),
        "half": Uniform(),
        "prop": Proportional(False, epsilon),
        "abs": Proportional(True, epsilon),
    }
    if product not in rules:
        raise UsageError(f'product "{product}" is no share of gates', f"give {', '.join(PRODUCTS)}")
    own: list[tuple[Match, Rule]] = [("gate", rules[product]), ("sum", Norm(epsilon))]
    return lrp("recurrent", ZPlus(stabilizer), Epsilon(epsilon), stabilizer, own)
