"""The weights of Shapley values in the game of one leaf, and the games of all leaves as tables."""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np

from ..graph.graph import Array


@cache
def shares_of(most: int) -> tuple[Array, Array]:
    """Return the Shapley values of the games that a row and a background row play at a leaf of value 1.

    The leaf is reached by a coalition that has all a players whom the row alone lets pass, and none of the c whom the
    background row alone does. So one of the a gets (a - 1)! c! / (a + c)!, one of the c gets - a! (c - 1)! / (a + c)!.

    Args:
        most: The largest number of players.

    Returns:
        Both for each a and c [most + 1, most + 1]; 0 where there is no such player.
    """
    row, other = np.zeros((most + 1, most + 1)), np.zeros((most + 1, most + 1))
    for a in range(most + 1):
        for c in range(most + 1):
            if a:
                row[a, c] = 1 / (a * comb(a + c, c))
            if c:
                other[a, c] = -1 / (c * comb(a + c, a))
    return row, other


@cache
def games(count: int) -> Array:
    """Return the Shapley value of each player for each two patterns [2^d, d, 2^d]: background's, player, row's."""
    bits = (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(bool)
    return pairs(bits, bits)


def pairs(row: Array, background: Array) -> Array:
    """Return the Shapley value of each player for each two patterns [B, d, U].

    Args:
        row: What rows meet, bool [U, d].
        background: What background rows meet, bool [B, d].
    """
    own, other = shares_of(row.shape[1])
    x, b = row.astype(np.float64), background.astype(np.float64)
    alone, hers = ((1 - b) @ x.T).astype(np.intp), (b @ (1 - x).T).astype(np.intp)
    possible = (1 - b) @ (1 - x).T == 0
    gain, loss = np.where(possible, own[alone, hers], 0), np.where(possible, other[alone, hers], 0)
    passes = (row[None] & ~background[:, None]).transpose(0, 2, 1)
    blocks = (~row[None] & background[:, None]).transpose(0, 2, 1)
    return np.asarray(gain[:, None] * passes + loss[:, None] * blocks)


@cache
def points(count: int) -> tuple[Array, Array]:
    """Return points on [0, 1] and weights of Gauss and Legendre, exact for polynomials of degree `count` - 1."""
    place, weight = np.polynomial.legendre.leggauss(max(1, (count + 1) // 2))
    return (place + 1) / 2, weight / 2


def by_shares(row: Array, share: Array) -> Array:
    """Return the Shapley values of games in which absent players let a share pass [L, d, U].

    v(S) = Π_{j in S} x_j Π_{j not in S} r_j has φ_i = (x_i - r_i) ∫₀¹ Π_{j ≠ i} (t x_j + (1 - t) r_j) dt, the
    integrand a polynomial of t, for which the points of Gauss and Legendre are exact.

    Args:
        row: What rows meet, bool [U, d], the same for all leaves, or [L, U, d].
        share: r of each leaf and player [L, d].
    """
    x = np.broadcast_to(row, (len(share), *row.shape[-2:])).astype(np.float64)
    r = share[:, None]
    total = np.zeros(x.shape)
    for t, weight in zip(*points(x.shape[2]), strict=True):
        factors = t * x + (1 - t) * r
        before = np.cumprod(np.concatenate([np.ones_like(factors[..., :1]), factors[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([np.ones_like(factors[..., :1]), factors[..., :0:-1]], -1), -1)[..., ::-1]
        total += weight * before * after
    return np.asarray((total * (x - r)).transpose(0, 2, 1))
