"""Makes lxt.npz, lxt_vit.onnx and lxt_encoder.onnx of test_lxt.py: LXT's relevance in float64 for two transformers.

    pip install -e '.[golden]' && PYTHONPATH=tests python tests/golden/lxt_goldens.py

The forward functions of attention, normalisation and activation are LXT's own patches (`lxt.efficient.patches`), as its
`monkey_patch` puts them into transformers. For each network there are `NET/x`, `NET/target`, `NET/logits`, and for each
of AttnLRP and CP-LRP `NET/RULE`, x ⊙ ∂/∂x of the patched network. Same versions, same files: all starts from seeds.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import lxt
import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
# The package lxt.efficient imports transformers for the networks that it patches by itself; its functions need none.
sys.modules["lxt.efficient"] = package = types.ModuleType("lxt.efficient")
package.__path__ = [str(Path(lxt.__file__).parent / "efficient")]
patches: Any = importlib.import_module("lxt.efficient.patches")
WIDTH, HEADS, CLASSES = 16, 4, 5


class Attention(nn.Module):
    """Scaled dot products of several heads, as transformers writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.products = self.plain

    @staticmethod
    def plain(module: Any, q: Any, k: Any, v: Any) -> Any:
        return torch.softmax(q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5, -1) @ v

    def forward(self, t: Any) -> Any:
        n, count, _ = t.shape
        q, k, v = (f(t).reshape(n, count, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        return self.o(self.products(self, q, k, v).transpose(1, 2).reshape(n, count, WIDTH))


class Block(nn.Module):
    """Attention and two dense layers with residuals; normalised before, or behind."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.before, self.attention = before, Attention()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.up, self.act, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, t: Any) -> Any:
        if self.before:
            t = t + self.attention(self.norm1(t))
            return t + self.down(self.act(self.up(self.norm2(t))))
        t = self.norm1(t + self.attention(t))
        return self.norm2(t + self.down(self.act(self.up(t))))


class ViT(nn.Module):
    """Patches of a picture, a class token, positions, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 7, WIDTH))
        self.blocks, self.norm = nn.Sequential(Block(True), Block(True)), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Any) -> Any:
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(x.shape[0], -1, -1), t], 1) + self.places
        return self.head(self.norm(self.blocks(t))[:, 0])


class Encoder(nn.Module):
    """Embeddings of six tokens, positions, two blocks that normalise behind, their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, 6, WIDTH))
        self.blocks, self.head = nn.Sequential(Block(False), Block(False)), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.head(self.blocks(x + self.places).mean(1))


def patched(net: Any, rule: str) -> None:
    """Put LXT's functions into the layers."""
    wrap = {"attnlrp": patches.wrap_attention_forward, "cp": patches.cp_wrap_attention_forward}[rule]
    for module in net.modules():
        if isinstance(module, Attention):
            module.products = wrap(Attention.plain)
        elif isinstance(module, nn.LayerNorm):
            module.forward = types.MethodType(patches.layer_norm_forward, module)
        elif isinstance(module, nn.GELU):
            module.original_forward = types.MethodType(nn.GELU.forward, module)
            module.forward = types.MethodType(patches.non_linear_forward, module)


def main() -> None:
    arrays: dict[str, Any] = {}
    for name, kind, shape in (("vit", ViT, (3, 8, 12)), ("encoder", Encoder, (6, WIDTH))):
        torch.manual_seed(3)
        net = kind().eval()
        for norm in (m for m in net.modules() if isinstance(m, nn.LayerNorm)):
            nn.init.normal_(norm.weight, 1, 0.3)
            nn.init.normal_(norm.bias, 0, 0.3)
        x = torch.randn(3, *shape)
        options: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "opset_version": 17, "dynamo": False}
        torch.onnx.export(net, (x,), str(HERE / f"lxt_{name}.onnx"), dynamic_axes={"x": {0: "N"}}, **options)
        net = net.double()
        logits = net(x.double())
        target = logits.argmax(1)
        arrays |= {f"{name}/x": x.numpy(), f"{name}/target": target.numpy(), f"{name}/logits": logits.detach().numpy()}
        for rule in ("attnlrp", "cp"):
            patched(net, rule)
            own = x.double().requires_grad_()
            found = net(own)
            assert (found - logits).abs().max() < 1e-12, "a patch changes what the network computes"
            found[torch.arange(3), target].sum().backward()
            arrays[f"{name}/{rule}"] = (own * own.grad).detach().numpy()
            print(
                name, rule, arrays[f"{name}/{rule}"].sum(axis=tuple(range(1, own.ndim))), found.max(1).values.tolist()
            )
    np.savez_compressed(HERE / "lxt.npz", **arrays)


if __name__ == "__main__":
    main()
