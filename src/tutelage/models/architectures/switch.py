"""Switch Transformer: T5 with many experts in every other layer, of which a token uses one.

Source: Fedus et al. 2022, arXiv:2101.03961. A router in float32 sends each token to the one expert
it finds likeliest and multiplies what comes back with that probability (section 2.1). Of a row an
expert takes `expert_capacity` tokens, the first that come; the others pass the layer by. Routers
and experts begin with deviation sqrt(0.1 / inputs) (section 2.4), where transformers draws routers
with deviation 1. The files' classes and names are transformers'. Which layers are sparse follows
from a step between them: layers 1, 1 + step ..., or all of them with a step of 1.
The router's noise (`router_jitter_noise`) and dropout have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.architectures import t5
from tutelage.models.architectures.t5 import Place, T5Config
from tutelage.models.fields import settled
from tutelage.models.headed import pair_forms
from tutelage.models.parts import activation, linear, refuse
from tutelage.models.spec import Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.nn.block import PreNorm

SCALE = 0.1
"""By which the variance of routers and experts begins lower than that of other layers."""
DEFAULTS = {"num_layers": 12, "d_model": 768, "num_heads": 12}
"""Of transformers' class, where they differ from T5's."""


@dataclass(frozen=True)
class SwitchConfig(T5Config):
    """T5's shape, and its sparse layers by the step between them (0: none) in either stack."""

    num_experts: int
    expert_capacity: int
    encoder_sparse_step: int
    decoder_sparse_step: int
    router_bias: bool
    router_aux_loss_coef: float
    router_z_loss_coef: float

    def sparse(self, place: Place) -> bool:
        """Whether a block has experts."""
        step = self.encoder_sparse_step if place.stack == "encoder" else self.decoder_sparse_step
        return step == 1 or (step > 1 and place.number % step == 1)


def read(config: Mapping[str, Any]) -> SwitchConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, router_dtype="float32", router_ignore_padding_tokens=False, is_gated_act=False)
    act = activation(config, "dense_act_fn", "relu")
    base = t5.read({**DEFAULTS, **config, "feed_forward_proj": act})
    wanted = {
        **vars(base),
        "num_experts": config.get("num_experts", 8),
        "expert_capacity": config.get("expert_capacity", 64),
        "encoder_sparse_step": _step(config, "encoder", base.num_layers),
        "decoder_sparse_step": _step(config, "decoder", base.num_decoder_layers),
        "router_bias": bool(config.get("router_bias")),
        "router_aux_loss_coef": config.get("router_aux_loss_coef", 0.001),
        "router_z_loss_coef": config.get("router_z_loss_coef", 0.001),
    }
    return settled(SwitchConfig, wanted)


def _step(config: Mapping[str, Any], stack: str, layers: int) -> int:
    """As the file says, or so that as many layers are sparse as it says: one where it says none, as
    in transformers."""
    given = config.get(f"{stack}_sparse_step")
    if given is not None:
        return int(given)
    count = config.get(f"num_sparse_{stack}_layers", 3)
    return layers // count if count else layers


def layout(config: SwitchConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    return t5.layout(config, _network)


def _network(
    config: SwitchConfig, place: Place, ours: str, theirs: str, layer: int
) -> Iterator[Weight]:
    width, hidden, sparse = config.d_model, config.d_ff, config.sparse(place)
    scale = SCALE**0.5 if sparse else config.initializer_factor
    if sparse:
        yield from linear(
            f"{ours}.router", f"{theirs}.mlp.router.classifier", config.num_experts, width,
            "router", layer, bias=config.router_bias, start=scale * width**-0.5,
        )  # fmt: skip
    for number in range(config.num_experts if sparse else 1):
        mine = f"{ours}.experts.{number}" if sparse else ours
        their = f"{theirs}.mlp.experts.expert_{number}" if sparse else f"{theirs}.mlp"
        for role, name, out, into in (("up", "wi", hidden, width), ("down", "wo", width, hidden)):
            yield from linear(
                f"{mine}.{role}", f"{their}.{name}", out, into, f"mlp.{role}", layer,
                start=scale * into**-0.5, idle=number > 0,
            )  # fmt: skip


def build(config: SwitchConfig) -> EncoderDecoder:
    """The module, its weights not yet set."""
    return t5.build(config, _block)


def _block(config: SwitchConfig, place: Place, parts: t5.Parts) -> PreNorm:
    from tutelage.nn.block import CrowdedPreNorm, PreNorm
    from tutelage.nn.moe import CrowdedExperts

    if not config.sparse(place):
        return PreNorm(mlp=t5.network(config), **parts)
    experts = CrowdedExperts(
        config.d_model,
        [t5.network(config) for _ in range(config.num_experts)],
        config.expert_capacity,
        balance_weight=config.router_aux_loss_coef,
        z_weight=config.router_z_loss_coef,
        bias=config.router_bias,
    )
    return CrowdedPreNorm(mlp=experts, **parts)


def _preset(
    width: int, hidden: int, layers: int, heads: int, experts: int, sparse: int, **more: Any
) -> dict[str, Any]:
    return {
        "architectures": ["SwitchTransformersForConditionalGeneration"],
        "model_type": "switch_transformers",
        "is_encoder_decoder": True,
        "d_model": width,
        "d_ff": hidden,
        "d_kv": 64,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "num_experts": experts,
        "num_sparse_encoder_layers": sparse,
        "num_sparse_decoder_layers": sparse,
        "expert_capacity": 64,
        "vocab_size": 32128,
        "router_aux_loss_coef": 0.01,
        **more,
    }


PRESETS = {
    "switch-tiny": _preset(64, 128, 2, 4, 4, 1, d_kv=16, vocab_size=260, expert_capacity=160),
    "switch-base-8": _preset(768, 3072, 12, 12, 8, 6),
    "switch-base-128": _preset(768, 3072, 12, 12, 128, 6),
    "switch-large-128": _preset(1024, 4096, 24, 16, 128, 12),
    "switch-c-2048": _preset(2080, 6144, 15, 32, 2048, 15),
}

SPEC = Spec(
    name="switch",
    family="encoder-decoder",
    hf_architectures=("SwitchTransformersForConditionalGeneration",),
    read=read,
    shape=t5.shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    ignored=(r"^(encoder|decoder)\.embed_tokens\.weight$", r"^lm_head\.weight$"),
    heads=pair_forms("transformer", answering=""),
)
