"""Makes lxt.npz and lxt_*.onnx of test_lxt.py: LXT's relevance in float64 for four transformers.

    pip install -e '.[golden]' && PYTHONPATH=tests python tests/golden/lxt_goldens.py

The forward functions of attention, normalisation, activation and gated layers are LXT's own patches
(`lxt.efficient.patches`), as its `monkey_patch` puts them into transformers; RMSNorm computes in float64 where the
patch says float32. For each network there are `NET/x`, `NET/target`, `NET/logits`, and for each of AttnLRP and CP-LRP
`NET/RULE`, x ⊙ ∂/∂x of the patched network. Of the decoders, which read ids, x is the embedding of the ids, summed over
its width, and the target is a token at the last position; both are written by both exporters of torch. Same versions,
same files: all starts from seeds.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import lxt
import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
# The package lxt.efficient imports transformers for the networks that it patches by itself; its functions need none.
sys.modules["lxt.efficient"] = package = types.ModuleType("lxt.efficient")
package.__path__ = [str(Path(lxt.__file__).parent / "efficient")]
patches: Any = importlib.import_module("lxt.efficient.patches")
WIDTH, HEADS, CLASSES, TOKENS = 16, 4, 5, 11


class _Double:
    """torch, where float32 is float64: the patch of RMSNorm computes in single precision."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


patches.torch = _Double()


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


class CausalBlock(Block):
    """A block of GPT-2: one product for queries, keys and values, a causal mask, Gelu by tanh."""

    def __init__(self) -> None:
        super().__init__(True)
        self.attention = CausalAttention()
        self.act = nn.GELU("tanh")


class CausalAttention(Attention):
    """Queries, keys and values of one layer; later tokens are masked."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.Linear(WIDTH, 3 * WIDTH)
        del self.q, self.k, self.v

    @staticmethod
    def plain(module: Any, q: Any, k: Any, v: Any) -> Any:
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        later = torch.triu(torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool), 1)
        return torch.softmax(scores.masked_fill(later, torch.finfo(scores.dtype).min), -1) @ v

    def forward(self, t: Any) -> Any:
        n, count, _ = t.shape
        q, k, v = (part.reshape(n, count, HEADS, -1).transpose(1, 2) for part in self.all(t).split(WIDTH, 2))
        return self.o(self.products(self, q, k, v).transpose(1, 2).reshape(n, count, WIDTH))


class RMSNorm(nn.Module):
    """x / sqrt(mean x² + ε) with a factor for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(1 + 0.3 * torch.randn(WIDTH)), 1e-6

    def forward(self, t: Any) -> Any:
        return self.weight * (t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


class Gated(nn.Module):
    """SwiGLU: down(silu(gate) up)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.down_proj, self.act_fn = nn.Linear(2 * WIDTH, WIDTH, bias=False), nn.SiLU()

    def forward(self, t: Any) -> Any:
        return self.down_proj(self.act_fn(self.gate_proj(t)) * self.up_proj(t))


class RotaryAttention(CausalAttention):
    """Four heads of queries over two of keys and values, rotated by their positions."""

    def __init__(self) -> None:
        super().__init__()
        del self.all
        self.q, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(WIDTH, WIDTH // 2, bias=False) for _ in range(2))

    def forward(self, t: Any) -> Any:
        n, count, _ = t.shape
        q, k, v = (f(t).reshape(n, count, -1, WIDTH // HEADS).transpose(1, 2) for f in (self.q, self.k, self.v))
        angles = torch.arange(count, dtype=t.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=t.dtype)
        cos, sin = (f(torch.cat([angles, angles], -1)) for f in (torch.cos, torch.sin))
        q, k = (x * cos + torch.cat([-x[..., 2:], x[..., :2]], -1) * sin for x in (q, k))
        return self.o(self.products(self, q, k, v).transpose(1, 2).reshape(n, count, WIDTH))

    @staticmethod
    def plain(module: Any, q: Any, k: Any, v: Any) -> Any:
        k, v = (x[:, :, None].expand(-1, -1, 2, -1, -1).reshape(q.shape) for x in (k, v))
        return CausalAttention.plain(module, q, k, v)


class RotaryBlock(nn.Module):
    """A block of Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attention, self.gated = RMSNorm(), RMSNorm(), RotaryAttention(), Gated()

    def forward(self, t: Any) -> Any:
        t = t + self.attention(self.norm1(t))
        return t + self.gated(self.norm2(t))


class GPT2(nn.Module):
    """Embeddings of ids and of positions, two blocks, logits of every next token by the same table."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(TOKENS, WIDTH), nn.Embedding(8, WIDTH)
        self.blocks, self.norm = nn.Sequential(CausalBlock(), CausalBlock()), nn.LayerNorm(WIDTH)

    def embedded(self, e: Any) -> Any:
        e = e + self.places(torch.arange(e.shape[1]))
        return self.norm(self.blocks(e)) @ self.words.weight.T

    def forward(self, ids: Any) -> Any:
        return self.embedded(self.words(ids))


class Llama(GPT2):
    """Embeddings of ids, two blocks with RMSNorm, rotary positions, grouped heads and gated layers."""

    def __init__(self) -> None:
        super().__init__()
        del self.places
        self.blocks, self.norm = nn.Sequential(RotaryBlock(), RotaryBlock()), RMSNorm()

    def embedded(self, e: Any) -> Any:
        return self.norm(self.blocks(e)) @ self.words.weight.T


def patched(net: Any, rule: str) -> None:
    """Put LXT's functions into the layers."""
    wrap = {"attnlrp": patches.wrap_attention_forward, "cp": patches.cp_wrap_attention_forward}[rule]
    for module in net.modules():
        if isinstance(module, Attention):
            module.products = wrap(type(module).plain)
        elif isinstance(module, nn.LayerNorm):
            module.forward = types.MethodType(patches.layer_norm_forward, module)
        elif isinstance(module, RMSNorm):
            module.forward = types.MethodType(patches.rms_norm_forward, module)
        elif isinstance(module, Gated):
            forward = {"attnlrp": patches.gated_mlp_forward, "cp": patches.cp_gated_mlp_forward}[rule]
            module.forward = types.MethodType(forward, module)
        elif isinstance(module, nn.GELU):
            module.original_forward = types.MethodType(nn.GELU.forward, module)
            module.forward = types.MethodType(patches.non_linear_forward, module)


def decoder(name: str, kind: Any) -> dict[str, Any]:
    """The arrays of a decoder, which is written by both exporters."""
    torch.manual_seed(3)
    net = kind().eval()
    for norm in (m for m in net.modules() if isinstance(m, nn.LayerNorm)):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    ids = torch.randint(0, TOKENS, (3, 6))
    written(net, ids, name)
    net = net.double()
    logits = net(ids)
    target = logits[:, -1].argmax(1)
    arrays = {"x": ids.numpy(), "target": target.numpy(), "logits": logits[:, -1].detach().numpy()}
    for rule in ("attnlrp", "cp"):
        patched(net, rule)
        own = net.words(ids).detach().requires_grad_()
        found = net.embedded(own)
        assert (found - logits).abs().max() < 1e-12, "a patch changes what the network computes"
        found[torch.arange(3), -1, target].sum().backward()
        arrays[rule] = (own * own.grad).sum(-1).detach().numpy()
        print(name, rule, arrays[rule].sum(axis=1), logits[:, -1].max(1).values.tolist())
    return {f"{name}/{key}": value for key, value in arrays.items()}


def written(net: Any, ids: Any, name: str) -> None:
    """Write a decoder of any number of tokens by both exporters, without the notes on its source."""
    for how, options in (
        ("legacy", {"dynamo": False, "opset_version": 17, "dynamic_axes": {"ids": {0: "N", 1: "L"}}}),
        ("dynamo", {"dynamo": True, "external_data": False, "dynamic_shapes": ({0: "N", 1: "L"},)}),
    ):
        path = HERE / f"lxt_{name}_{how}.onnx"
        torch.onnx.export(net, (ids,), str(path), input_names=["ids"], output_names=["y"], **options)
        model = onnx.load(path)
        for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph, model):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        del model.graph.value_info[:]
        onnx.save(model, path)


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
    for name, kind in (("gpt2", GPT2), ("llama", Llama)):
        arrays |= decoder(name, kind)
    np.savez_compressed(HERE / "lxt.npz", **arrays)


if __name__ == "__main__":
    main()
