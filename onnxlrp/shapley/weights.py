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
def _of_two(most: int) -> tuple[Array, Array]:
    """Return the interactions of two players at a leaf of value 1, in the games of `shares_of`.

    Of two of the a players: (a - 2)! c! / (a + c - 1)!, which of two of the c is the same with a and c exchanged; of
    one of each - (a - 1)! (c - 1)! / (a + c - 1)!.

    Args:
        most: The largest number of players.

    Returns:
        Both for each a and c [most + 1, most + 1]; 0 where there are no such players.
    """
    alike, unlike = np.zeros((most + 1, most + 1)), np.zeros((most + 1, most + 1))
    for a in range(most + 1):
        for c in range(most + 1):
            if a > 1:
                alike[a, c] = 1 / ((a - 1) * comb(a + c - 1, c))
            if a and c:
                unlike[a, c] = -1 / (a * comb(a + c - 1, a))
    return alike, unlike


@cache
def pair_games(count: int) -> Array:
    """Return the interaction of each two players for each two patterns [2^d, d (d - 1) / 2, 2^d], as `games`."""
    bits = (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(bool)
    return interactions(bits, bits)


def interactions(row: Array, background: Array) -> Array:
    """Return the Shapley interaction index of each two players i < j for each two patterns [B, d (d - 1) / 2, U].

    Args:
        row: What rows meet, bool [U, d].
        background: What background rows meet, bool [B, d].

    References:
        Grabisch and Roubens, An axiomatic approach to the concept of interaction among players in cooperative games,
        International Journal of Game Theory 1999.
    """
    alike, unlike = _of_two(row.shape[1])
    x, b = row.astype(np.float64), background.astype(np.float64)
    alone, hers = ((1 - b) @ x.T).astype(np.intp), (b @ (1 - x).T).astype(np.intp)
    possible = (1 - b) @ (1 - x).T == 0
    both, neither, mixed = (
        np.where(possible, t, 0) for t in (alike[alone, hers], alike[hers, alone], unlike[alone, hers])
    )
    passes = (row[None] & ~background[:, None]).transpose(0, 2, 1)
    blocks = (~row[None] & background[:, None]).transpose(0, 2, 1)
    i, j = np.triu_indices(row.shape[1], 1)
    crossed = passes[:, i] & blocks[:, j] | blocks[:, i] & passes[:, j]
    alone_two, hers_two = passes[:, i] & passes[:, j], blocks[:, i] & blocks[:, j]
    return np.asarray(both[:, None] * alone_two + neither[:, None] * hers_two + mixed[:, None] * crossed)


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


def interactions_by_shares(row: Array, share: Array) -> Array:
    """Return the Shapley interaction index of each two players i < j in the games of `by_shares` [L, d (d - 1) / 2, U].

    I_ij = (x_i - r_i) (x_j - r_j) ∫₀¹ Π_{k ≠ i, j} (t x_k + (1 - t) r_k) dt.

    Args:
        row: What rows meet, bool [U, d].
        share: r of each leaf and player [L, d].
    """
    x = np.broadcast_to(row, (len(share), *row.shape[-2:])).astype(np.float64)
    r, count = share[:, None], row.shape[-1]
    i, j = np.triu_indices(count, 1)
    total = np.zeros((*x.shape[:2], len(i)))
    for t, weight in zip(*points(count), strict=True):
        factors = t * x + (1 - t) * r
        for pair, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
            total[..., pair] += weight * np.delete(factors, [a, b], axis=-1).prod(axis=-1)
    apart = x - r
    return np.asarray((total * apart[..., i] * apart[..., j]).transpose(0, 2, 1))
