"""Two small networks in the many forms that exporters give to one function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Array
from .small_nets import Net

BATCH, CHANNELS, SIZE, TOKENS, WIDTH = 3, 6, 8, 5, 8


class Parts(Net):
    """A net whose parts are written plainly; rewrites override one of them.

    The weights come from names, so that the same part has the same weights in every rewrite.
    """

    def draw(self, name: str, *shape: int) -> Array:
        return np.random.default_rng(sum(map(ord, name))).normal(size=shape).astype(np.float32)

    def statistics(self, name: str) -> tuple[Array, Array, Array, Array]:
        return (1 + 0.3 * self.draw(name + "g", CHANNELS), 0.3 * self.draw(name + "b", CHANNELS),
                0.3 * self.draw(name + "m", CHANNELS), 1 + 0.2 * np.abs(self.draw(name + "v", CHANNELS)))  # fmt: skip

    # Parts of the convolutional net.

    def start(self) -> str:
        return "x"

    def conv_weights(self, name: str, inner: int, kernel: int) -> tuple[Array, Array]:
        size = math.sqrt(inner * kernel * kernel / 2)
        return self.draw(name, CHANNELS, inner, kernel, kernel) / size, 0.2 * self.draw(name + "bias", CHANNELS)

    def conv_of(self, x: str, name: str, inner: int, kernel: int) -> str:
        weight, bias = self.conv_weights(name, inner, kernel)
        return self.op("Conv", x, weight, bias, pads=[kernel // 2] * 4)

    def between(self, x: str) -> str:
        return x

    def norm_of(self, x: str, name: str) -> str:
        return self.op("BatchNormalization", x, *self.statistics(name))

    def normed_conv(self, x: str, name: str, inner: int, kernel: int) -> str:
        return self.norm_of(self.between(self.conv_of(x, name, inner, kernel)), name)

    def rectified(self, x: str) -> str:
        return self.op("Relu", x)

    def pooled(self, x: str) -> str:
        return self.op("GlobalAveragePool", x)

    def flat(self, x: str) -> str:
        return self.op("Flatten", x)

    def head(self, x: str, inner: int) -> str:
        return self.op("Gemm", x, self.draw("head", inner, 3), 0.1 * self.draw("headbias", 3))

    def swish(self, x: str) -> str:
        return self.op("HardSwish", x)

    # Parts of the transformer.

    def layer_norm(self, x: str) -> str:
        return self.op("LayerNormalization", x, 1 + 0.2 * self.draw("ln", WIDTH), 0.2 * self.draw("lnb", WIDTH))

    def linear(self, x: str, name: str) -> str:
        y = self.op("MatMul", x, self.draw(name, WIDTH, WIDTH) / math.sqrt(WIDTH))
        return self.op("Add", y, 0.1 * self.draw(name + "bias", WIDTH))

    def scaled(self, x: str) -> str:
        return self.op("Mul", x, np.array(0.5))

    def softmax(self, x: str) -> str:
        return self.op("Softmax", x, axis=-1)

    def gelu(self, x: str) -> str:
        return self.op("Gelu", x)

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def mean(self, x: str) -> str:
        return self.op("ReduceMean", x, np.array([1]), keepdims=0)


def convolutional(n: Parts) -> str:
    a = n.rectified(n.normed_conv(n.start(), "first", 3, 3))
    b = n.op("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    c = n.swish(n.normed_conv(b, "second", CHANNELS, 1))
    d = n.rectified(n.op("Add", n.normed_conv(c, "third", CHANNELS, 3), b))
    return n.head(n.flat(n.pooled(d)), CHANNELS)


def transformer(n: Parts) -> str:
    h = n.layer_norm(n.linear("x", "embed"))
    q, k, v = (n.linear(h, name) for name in "qkv")
    scores = n.scaled(n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])))
    h = n.op("Add", h, n.linear(n.op("MatMul", n.softmax(scores), v), "out"))
    h = n.op("Add", h, n.linear(n.gelu(n.linear(h, "up")), "down"))
    return n.head(n.mean(n.silu(n.layer_norm(h))), WIDTH)


REWRITES: dict[str, tuple[Callable[[Parts], str], type[Parts]]] = {}


def rewrite(network: Callable[[Parts], str]) -> Callable[[type[Parts]], type[Parts]]:
    def add(cls: type[Parts]) -> type[Parts]:
        REWRITES[cls.__name__] = network, cls
        return cls

    return add


# -- the convolutional net


@rewrite(convolutional)
class NormFolded(Parts):
    def normed_conv(self, x: str, name: str, inner: int, kernel: int) -> str:
        weight, bias = self.conv_weights(name, inner, kernel)
        gain, shift, mean, variance = self.statistics(name)
        factor = gain / np.sqrt(variance + 1e-5)
        return self.op("Conv", x, weight * factor[:, None, None, None], (bias - mean) * factor + shift,
                       pads=[kernel // 2] * 4)  # fmt: skip


@rewrite(convolutional)
class NormAsArithmetic(Parts):
    def norm_of(self, x: str, name: str) -> str:
        gain, shift, mean, variance = (v[:, None, None] for v in self.statistics(name))
        y = self.op("Div", self.op("Sub", x, mean), np.sqrt(variance + 1e-5))
        return self.op("Add", self.op("Mul", y, gain), shift)


@rewrite(convolutional)
class NormInChannelsLast(Parts):
    def norm_of(self, x: str, name: str) -> str:
        gain, shift, mean, variance = self.statistics(name)
        factor = gain / np.sqrt(variance + 1e-5)
        y = self.op("Transpose", x, perm=[0, 2, 3, 1])
        y = self.op("Add", self.op("Mul", y, factor), shift - mean * factor)
        return self.op("Transpose", y, perm=[0, 3, 1, 2])


@rewrite(convolutional)
class IdentityBetween(Parts):
    def between(self, x: str) -> str:
        return self.op("Identity", x)


@rewrite(convolutional)
class CastsBetween(Parts):
    def between(self, x: str) -> str:
        return self.op("Cast", self.op("Cast", x, to=11), to=1)


@rewrite(convolutional)
class ReshapesBetween(Parts):
    def between(self, x: str) -> str:
        return self.op("Reshape", self.op("Reshape", x, np.array([0, 0, 0, -1, 1])), np.array([0, 0, 0, -1]))


@rewrite(convolutional)
class AxesBetween(Parts):
    def between(self, x: str) -> str:
        return self.op("Squeeze", self.op("Unsqueeze", x, np.array([2])), np.array([2]))


@rewrite(convolutional)
class TransposesBetween(Parts):
    def between(self, x: str) -> str:
        return self.op("Transpose", self.op("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])


@rewrite(convolutional)
class BiasAdded(Parts):
    def conv_of(self, x: str, name: str, inner: int, kernel: int) -> str:
        weight, bias = self.conv_weights(name, inner, kernel)
        return self.op("Add", self.op("Conv", x, weight, pads=[kernel // 2] * 4), bias[:, None, None])


@rewrite(convolutional)
class PointwiseConvAsMatMul(Parts):
    def conv_of(self, x: str, name: str, inner: int, kernel: int) -> str:
        if kernel > 1:
            return super().conv_of(x, name, inner, kernel)
        weight, bias = self.conv_weights(name, inner, kernel)
        y = self.op("MatMul", self.op("Transpose", x, perm=[0, 2, 3, 1]), weight[:, :, 0, 0].T.copy())
        return self.op("Transpose", self.op("Add", y, bias), perm=[0, 3, 1, 2])


class Pointwise(Parts):
    """Convolutions of width 1 are written as products with a matrix."""

    def conv_of(self, x: str, name: str, inner: int, kernel: int) -> str:
        if kernel > 1:
            return super().conv_of(x, name, inner, kernel)
        weight, bias = self.conv_weights(name, inner, kernel)
        return self.product(x, weight[:, :, 0, 0], bias)

    def product(self, x: str, weight: Array, bias: Array) -> str:
        raise NotImplementedError

    def picture(self, x: str, *lead: int, last: tuple[int, ...] = ()) -> str:
        return self.op("Reshape", x, np.array([*lead, SIZE // 2, SIZE // 2, *last]))


@rewrite(convolutional)
class PointwiseConvOnOneAxis(Pointwise):
    def product(self, x: str, weight: Array, bias: Array) -> str:
        y = self.op("MatMul", weight, self.op("Reshape", x, np.array([0, weight.shape[1], -1])))
        return self.picture(self.op("Add", y, bias[:, None]), 0, CHANNELS)


@rewrite(convolutional)
class PointwiseConvBiasBehindReshape(Pointwise):
    def product(self, x: str, weight: Array, bias: Array) -> str:
        y = self.op("MatMul", weight, self.op("Reshape", x, np.array([0, weight.shape[1], -1])))
        return self.op("Add", self.picture(y, 0, CHANNELS), bias[:, None, None])


@rewrite(convolutional)
class PointwiseConvOnTokens(Pointwise):
    def product(self, x: str, weight: Array, bias: Array) -> str:
        y = self.op("Transpose", self.op("Reshape", x, np.array([0, weight.shape[1], -1])), perm=[0, 2, 1])
        y = self.op("Add", self.op("MatMul", y, weight.T.copy()), bias)
        return self.picture(self.op("Transpose", y, perm=[0, 2, 1]), 0, CHANNELS)


@rewrite(convolutional)
class PointwiseConvAsGemm(Pointwise):
    """The rows are the places of all samples."""

    def product(self, x: str, weight: Array, bias: Array) -> str:
        y = self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 3, 1]), np.array([-1, weight.shape[1]]))
        y = self.picture(self.op("Gemm", y, weight, bias, transB=1), -1, last=(CHANNELS,))
        return self.op("Transpose", y, perm=[0, 3, 1, 2])


@rewrite(convolutional)
class PointwiseConvAsEinsum(Pointwise):
    def product(self, x: str, weight: Array, bias: Array) -> str:
        y = self.op("Einsum", weight, x, equation="oc,bchw->bohw")
        return self.op("Add", y, bias[:, None, None])


@rewrite(convolutional)
class NormBehindReshape(Parts):
    """The normalisation reads the places on one axis."""

    def normed_conv(self, x: str, name: str, inner: int, kernel: int) -> str:
        side = SIZE if name == "first" else SIZE // 2
        y = self.op("Reshape", self.conv_of(x, name, inner, kernel), np.array([0, CHANNELS, side * side]))
        return self.op("Reshape", self.norm_of(y, name), np.array([0, CHANNELS, side, side]))


@rewrite(convolutional)
class ChannelsLast(Parts):
    def start(self) -> str:
        return self.op("Transpose", "x", perm=[0, 3, 1, 2])


@rewrite(convolutional)
class ReluAsMax(Parts):
    def rectified(self, x: str) -> str:
        return self.op("Max", np.array(0.0), x)


@rewrite(convolutional)
class ReluAsClip(Parts):
    def rectified(self, x: str) -> str:
        return self.op("Clip", x, np.array(0.0))


@rewrite(convolutional)
class ReluAsMask(Parts):
    def rectified(self, x: str) -> str:
        return self.op("Where", self.op("Greater", x, np.array(0.0)), x, np.array(0.0))


@rewrite(convolutional)
class MeanOfPlaces(Parts):
    def pooled(self, x: str) -> str:
        return self.op("ReduceMean", x, np.array([2, 3]))


@rewrite(convolutional)
class AverageOfPlaces(Parts):
    def pooled(self, x: str) -> str:
        return self.op("AveragePool", x, kernel_shape=[SIZE // 2] * 2)


@rewrite(convolutional)
class SumOfPlaces(Parts):
    def pooled(self, x: str) -> str:
        return self.op("Div", self.op("ReduceSum", x, np.array([2, 3])), np.array(16.0))


@rewrite(convolutional)
class FlattenAsReshape(Parts):
    def flat(self, x: str) -> str:
        return self.op("Reshape", x, np.array([-1, CHANNELS]))


@rewrite(convolutional)
class FlattenAsSqueezes(Parts):
    def flat(self, x: str) -> str:
        return self.op("Squeeze", self.op("Squeeze", x, np.array([-1])), np.array([2]))


@rewrite(convolutional)
class HeadAsMatMul(Parts):
    def head(self, x: str, inner: int) -> str:
        y = self.op("MatMul", x, self.draw("head", inner, 3))
        return self.op("Add", y, 0.1 * self.draw("headbias", 3))


@rewrite(convolutional)
class HeadAsConv(Parts):
    def flat(self, x: str) -> str:
        return x

    def head(self, x: str, inner: int) -> str:
        weight = self.draw("head", inner, 3).T[:, :, None, None].copy()
        return self.op("Flatten", self.op("Conv", x, weight, 0.1 * self.draw("headbias", 3)))


@rewrite(convolutional)
class HardSwishByHardSigmoid(Parts):
    def swish(self, x: str) -> str:
        return self.op("Mul", x, self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))


@rewrite(convolutional)
class HardSwishByClip(Parts):
    def swish(self, x: str) -> str:
        gate = self.op("Clip", self.op("Add", x, np.array(3.0)), np.array(0.0), np.array(6.0))
        return self.op("Div", self.op("Mul", x, gate), np.array(6.0))


@rewrite(convolutional)
class HardSwishByRelu6(Parts):
    def swish(self, x: str) -> str:
        gate = self.op("Clip", self.op("Add", np.array(3.0), x), np.array(0.0), np.array(6.0))
        return self.op("Mul", self.op("Mul", gate, np.array(1 / 6)), x)


# -- the transformer


class Epsilon(Parts):
    """The parts of a layer normalisation by which exporters differ."""

    def square(self, x: str) -> str:
        return self.op("Pow", x, np.array(2.0))

    def layer_norm(self, x: str) -> str:
        centred = self.op("Sub", x, self.op("ReduceMean", x, np.array([-1])))
        variance = self.op("ReduceMean", self.square(centred), np.array([-1]))
        y = self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, np.array(1e-5))))
        return self.op("Add", self.op("Mul", y, 1 + 0.2 * self.draw("ln", WIDTH)), 0.2 * self.draw("lnb", WIDTH))


@rewrite(transformer)
class LayerNormByPow(Epsilon):
    pass


@rewrite(transformer)
class LayerNormByMul(Epsilon):
    def square(self, x: str) -> str:
        return self.op("Mul", x, x)


@rewrite(transformer)
class LayerNormByReciprocal(Parts):
    def layer_norm(self, x: str) -> str:
        centred = self.op("Sub", x, self.op("ReduceMean", x, np.array([-1])))
        variance = self.op("ReduceMean", self.op("Mul", centred, centred), np.array([-1]))
        inverse = self.op("Reciprocal", self.op("Sqrt", self.op("Add", variance, np.array(1e-5))))
        y = self.op("Mul", self.op("Mul", centred, inverse), 1 + 0.2 * self.draw("ln", WIDTH))
        return self.op("Add", y, 0.2 * self.draw("lnb", WIDTH))


@rewrite(transformer)
class SoftmaxWrittenOut(Parts):
    def softmax(self, x: str) -> str:
        e = self.op("Exp", self.op("Sub", x, self.op("ReduceMax", x, np.array([-1]))))
        return self.op("Div", e, self.op("ReduceSum", e, np.array([-1])))


@rewrite(transformer)
class SoftmaxByLogarithm(Parts):
    def softmax(self, x: str) -> str:
        return self.op("Exp", self.op("LogSoftmax", x, axis=-1))


@rewrite(transformer)
class GeluByErf(Parts):
    def gelu(self, x: str) -> str:
        normal = self.op("Add", self.op("Erf", self.op("Div", x, np.array(math.sqrt(2)))), np.array(1.0))
        return self.op("Mul", self.op("Mul", x, normal), np.array(0.5))


@rewrite(transformer)
class LinearAsGemm(Parts):
    def linear(self, x: str, name: str) -> str:
        y = self.op("Reshape", x, np.array([-1, WIDTH]))
        weight, bias = self.draw(name, WIDTH, WIDTH) / math.sqrt(WIDTH), 0.1 * self.draw(name + "bias", WIDTH)
        return self.op("Reshape", self.op("Gemm", y, weight.T.copy(), bias, transB=1), np.array([-1, TOKENS, WIDTH]))


@rewrite(transformer)
class LinearAsEinsum(Parts):
    def linear(self, x: str, name: str) -> str:
        weight, bias = self.draw(name, WIDTH, WIDTH) / math.sqrt(WIDTH), 0.1 * self.draw(name + "bias", WIDTH)
        return self.op("Add", bias, self.op("Einsum", x, weight, equation="bti,io->bto"))


@rewrite(transformer)
class LinearAsConv(Parts):
    def linear(self, x: str, name: str) -> str:
        weight, bias = self.draw(name, WIDTH, WIDTH) / math.sqrt(WIDTH), 0.1 * self.draw(name + "bias", WIDTH)
        y = self.op("Conv", self.op("Transpose", x, perm=[0, 2, 1]), weight.T[:, :, None].copy(), bias)
        return self.op("Transpose", y, perm=[0, 2, 1])


@rewrite(transformer)
class ScaledByDiv(Parts):
    def scaled(self, x: str) -> str:
        return self.op("Div", x, np.array(2.0))


@rewrite(transformer)
class SiluWithIdentities(Parts):
    def silu(self, x: str) -> str:
        return self.op("Mul", self.op("Sigmoid", self.op("Identity", x)), self.op("Identity", x))


@rewrite(transformer)
class SiluByExp(Parts):
    def silu(self, x: str) -> str:
        return self.op("Div", x, self.op("Add", self.op("Exp", self.op("Neg", x)), np.array(1.0)))


@rewrite(transformer)
class MeanAsSum(Parts):
    def mean(self, x: str) -> str:
        return self.op("Mul", self.op("ReduceSum", x, np.array([1]), keepdims=0), np.array(1 / TOKENS))


@rewrite(transformer)
class MeanAsPool(Parts):
    def mean(self, x: str) -> str:
        y = self.op("GlobalAveragePool", self.op("Transpose", x, perm=[0, 2, 1]))
        return self.op("Squeeze", y, np.array([2]))


def made(network: Any, cls: type[Parts]) -> Any:
    shapes = {convolutional: (3, SIZE, SIZE), transformer: (TOKENS, WIDTH)}
    n = cls(*((SIZE, SIZE, 3) if cls is ChannelsLast else shapes[network]))
    return n.model(network(n))
