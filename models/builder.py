"""Building a chip's part of a decoder from its weights (see shapes.py for their names).

How each is cut: embedding and head by rows of the vocabulary; q, k and v by heads (rows), o by the
same heads (columns); gate and up by rows, down by columns, of the MLP or of every expert; norms and
routers are whole on every chip.
"""

from pathlib import Path

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .compute import attention_compute, model_compute
from .config import DecoderConfig
from .decoder import Decoder
from .errors import UnsupportedModel
from .head_plan import plan_heads
from .layers.attention import Attention
from .layers.block import Block
from .layers.embedding import VocabularyEmbedding, VocabularyHead, padding_mask
from .layers.experts import ExpertMlp
from .layers.mlp import GatedMlp
from .layers.norm import LayerNorm, Norm, RmsNorm, SplitRmsNorm
from .loader import Heads, Loader, Source, part_of
from .precision import Precision
from .stored import StoredWeights
from .weights import Checkpoint


def load_decoder(
    chip: MeshChip,
    folder: Path,
    config: DecoderConfig,
    precision: Precision | DType | str,
    compute: ComputeConfig | None = None,
) -> Decoder:
    """Read the chip's own slices of a checkpoint and put them on the chip.

    Shapes are taken as right: `shapes.open_folder` checks them.

    Raises:
        CheckpointNotFound, CorruptCheckpoint: the folder is not the one that was checked.
        OutOfMemory: the chip's DRAM is full; names the tensor.
    """
    with Checkpoint(folder) as checkpoint:
        source = StoredWeights(config, checkpoint)
        return DecoderBuilder(chip, source, config, precision, compute).decoder()


class DecoderBuilder:
    """Builds the layers of one chip.

    `compute` is what the linear layers and attention are computed with; None: see compute.py.
    """

    def __init__(
        self,
        chip: MeshChip,
        source: Source,
        config: DecoderConfig,
        precision: Precision | DType | str,
        compute: ComputeConfig | None = None,
    ) -> None:
        self.compute = compute
        self.chip, self.config = chip, config
        self.precision = Precision.parse(precision)
        self.load = Loader(chip, source, self.precision.activations)
        self.heads = plan_heads(config.num_heads, config.num_kv_heads, chip.num_chips)

    @property
    def dtype(self) -> DType:
        """The format of activations, norms and biases."""
        return self.precision.activations

    def decoder(self) -> Decoder:
        """The chip's part of the whole model."""
        embedding = self.embedding()
        return Decoder(
            config=self.config,
            precision=self.precision,
            num_kv_heads=self.heads.num_kv_heads,
            embedding=embedding,
            blocks=tuple(self.block(layer) for layer in range(self.config.num_layers)),
            norm=self.norm("model.norm"),
            head=self.head(embedding),
        )

    def embedding(self) -> VocabularyEmbedding:
        """The chip's rows of the token table."""
        table = self.load.rows("model.embed_tokens.weight")
        return VocabularyEmbedding(table, self._vocabulary().start, self.config.embedding_scale)

    def head(self, embedding: VocabularyEmbedding) -> VocabularyHead:
        """The chip's rows of the LM head: the token table itself where they are one and alike."""
        tied = self.config.tie_word_embeddings
        if tied and self.precision.head is self.dtype:
            weight = embedding.table_VcD
        else:
            name = "model.embed_tokens.weight" if tied else "lm_head.weight"
            weight = self.load.rows(name, self.precision.head)
        if self.config.vocab_size % self.chip.num_chips == 0:
            return VocabularyHead(weight, None, self._compute(weight.dtype))
        part = self._vocabulary()
        mask = padding_mask(part.stop - part.start, weight.shape[0])
        hidden = self.chip.tensor(mask, self.dtype, what="logit mask")
        return VocabularyHead(weight, hidden, self._compute(weight.dtype))

    def block(self, layer: int) -> Block:
        """One decoder layer."""
        name, placement = f"model.layers.{layer}.", self.config.norm_placement
        first, second = f"{name}input_layernorm", f"{name}post_attention_layernorm"
        before_mlp = f"{name}pre_feedforward_layernorm"
        after_mlp = f"{name}post_feedforward_layernorm"
        has_before, has_after = placement != "after", placement in ("after", "around")
        middle = {"around": before_mlp, "after": None}.get(placement, second)
        return Block(
            attention=self.attention(layer),
            mlp=(
                self.mlp(f"{name}mlp.")
                if self.config.experts is None
                else self.experts(f"{name}mlp.")
            ),
            norm_before_attention=self.norm(first) if has_before else None,
            norm_after_attention=self.norm(second) if has_after else None,
            norm_before_mlp=self.norm(middle) if middle else None,
            norm_after_mlp=self.norm(after_mlp) if has_after else None,
            is_parallel=placement == "parallel",
        )

    def norm(self, name: str) -> Norm:
        """A norm of the whole vector, by the name of its weight less ".weight"."""
        weight = self.load.whole(f"{name}.weight", self.dtype, self.config.norm_offset)
        if self.config.norm == "rms":
            return RmsNorm(weight, self.config.rms_norm_eps)
        bias = self.load.whole(f"{name}.bias", self.dtype)
        return LayerNorm(weight, bias, self.config.rms_norm_eps)

    def attention(self, layer: int) -> Attention:
        """The chip's heads of an attention layer."""
        config, name = self.config, f"model.layers.{layer}.self_attn."
        rank, dim = self.chip.rank, config.head_dim
        query, kv = self.heads.query_heads(rank), self.heads.kv_heads(rank)

        def qkv(kind: str, dtype: DType) -> Tensor:
            names = [f"{name}{which}_proj.{kind}" for which in "qkv"]
            return self.load.head_rows(names, (query, kv, kv), dim, dtype)

        weights = self.precision.attention
        sinks = None
        if config.has_sinks:
            column = self.load.head_rows([f"{name}sinks"], (query,), 1, self.dtype)
            scale = config.query_scale or config.head_dim**-0.5
            sinks = self.chip.mul(column, 1 / scale)  # attention scales them with the scores
            sinks = self.chip.reshape(sinks, (1, len(query), 1, 1))
        return Attention(
            qkv_weight=qkv("weight", weights),
            output_weight=self.load.head_cols(f"{name}o_proj.weight", query, dim, weights),
            num_query_heads=self.heads.num_query_heads,
            num_kv_heads=self.heads.num_kv_heads,
            qkv_bias=qkv("bias", self.dtype) if config.qkv_bias else None,
            output_bias=self._once(f"{name}o_proj.bias") if config.output_bias else None,
            query_norm=self._head_norm(f"{name}q_norm.weight", query),
            key_norm=self._head_norm(f"{name}k_norm.weight", kv),
            scale=config.query_scale,
            window=config.window_of(layer),
            sinks=sinks,
            compute=self._compute(weights),
            mix_compute=self.compute or attention_compute(self.dtype),
        )

    def _head_norm(self, name: str, heads: Heads) -> RmsNorm | SplitRmsNorm | None:
        """The norm of q or k: of each head, or of all heads of all chips together."""
        config = self.config
        if config.qk_norm == "none":
            return None
        if config.qk_norm == "head":
            weight = self.load.whole(name, self.dtype, config.norm_offset)
            return RmsNorm(weight, config.rms_norm_eps)
        if config.num_kv_heads % self.chip.num_chips:
            legal = [n for n in (1, 2, 4, 8, 16, 32) if config.num_kv_heads % n == 0]
            raise UnsupportedModel(
                f"a norm over all {config.num_kv_heads} key heads cut over {self.chip.num_chips} "
                "chips",
                [f"{n} chips" for n in legal],
            )
        weight = self.load.head_rows([name], (heads,), config.head_dim, self.dtype)
        return SplitRmsNorm(weight, config.rms_norm_eps)

    def mlp(self, name: str) -> GatedMlp:
        """The chip's part of an MLP."""
        load, config, precision = self.load, self.config, self.precision
        has_bias = config.mlp_bias
        gate = config.is_gated
        return GatedMlp(
            gate_FcD=load.rows(f"{name}gate_proj.weight", precision.gate_up) if gate else None,
            up_FcD=load.rows(f"{name}up_proj.weight", precision.gate_up),
            down_DFc=load.cols(f"{name}down_proj.weight", precision.down),
            gate_bias_Fc=load.rows(f"{name}gate_proj.bias", self.dtype)
            if has_bias and gate
            else None,
            up_bias_Fc=load.rows(f"{name}up_proj.bias", self.dtype) if has_bias else None,
            down_bias_D=self._once(f"{name}down_proj.bias") if has_bias else None,
            activation=config.activation,
            compute=self._compute(precision.gate_up),
            down_compute=self._compute(precision.down),
        )

    def experts(self, name: str) -> ExpertMlp:
        """The chip's part of every expert, and the whole router."""
        experts = self.config.experts
        assert experts is not None
        has_bias, dtype = experts.has_bias, self.dtype

        def all_of(part: str, dim: int | None, wanted: DType) -> Tensor:
            names = [f"{name}experts.{expert}.{part}" for expert in range(experts.num)]
            return self.load.stacked(names, dim, wanted)

        is_first = self.chip.rank == 0
        return ExpertMlp(
            router_ED=self.load.whole(f"{name}gate.weight", dtype),
            gate_EFcD=all_of("gate_proj.weight", 0, self.precision.gate_up),
            up_EFcD=all_of("up_proj.weight", 0, self.precision.gate_up),
            down_EDFc=all_of("down_proj.weight", 1, self.precision.down),
            per_token=experts.per_token,
            is_normalised=experts.normalised,
            activation=self.config.activation,
            router_bias_E=self.load.whole(f"{name}gate.bias", dtype) if has_bias else None,
            gate_bias_EFc=all_of("gate_proj.bias", 0, dtype) if has_bias else None,
            up_bias_EFc=all_of("up_proj.bias", 0, dtype) if has_bias else None,
            down_bias_ED=all_of("down_proj.bias", None, dtype) if has_bias and is_first else None,
            router_compute=self._compute(dtype),
        )

    def _compute(self, weights: DType) -> ComputeConfig:
        """What a product with weights of this format is computed with."""
        return self.compute or model_compute(self.dtype, weights)

    def _once(self, name: str) -> Tensor | None:
        """A bias that an all_reduce would add once a chip: chip 0 alone has it."""
        return self.load.whole(name, self.dtype) if self.chip.rank == 0 else None

    def _vocabulary(self) -> slice:
        """The token ids whose rows this chip holds."""
        return part_of(self.config.vocab_size, self.chip.rank, self.chip.num_chips)
