"""Building a chip's part of a decoder from the tensors of a Hugging Face Llama checkpoint.

How each is cut: embedding and head by rows of the vocabulary; q, k and v by heads (rows), o by the
same heads (columns); gate and up by rows, down by columns; norms are whole on every chip.
"""

from pathlib import Path

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .compute import model_compute
from .config import LlamaConfig
from .decoder import Block, Decoder
from .head_plan import plan_heads
from .layers.attention import Attention
from .layers.embedding import VocabularyEmbedding, VocabularyHead, padding_mask
from .layers.mlp import GatedMlp
from .layers.norm import RmsNorm
from .loader import Loader, part_of
from .weights import Checkpoint


def load_decoder(
    chip: MeshChip,
    folder: Path,
    config: LlamaConfig,
    dtype: DType,
    compute: ComputeConfig | None = None,
) -> Decoder:
    """Read the chip's own slices of a checkpoint and put them on the chip.

    Shapes are taken as right: `shapes.open_folder` checks them.

    Raises:
        CheckpointNotFound, CorruptCheckpoint: the folder is not the one that was checked.
        OutOfMemory: the chip's DRAM is full; names the tensor.
    """
    with Checkpoint(folder) as checkpoint:
        return DecoderBuilder(chip, checkpoint, config, dtype, compute).decoder()


class DecoderBuilder:
    """Builds the layers of one chip; a layer's name ends with a full stop, or is empty.

    `compute` is what the products of the layers are computed with; None: see `model_compute`.
    """

    def __init__(
        self,
        chip: MeshChip,
        checkpoint: Checkpoint,
        config: LlamaConfig,
        dtype: DType,
        compute: ComputeConfig | None = None,
    ) -> None:
        self.compute = compute or model_compute(dtype)
        self.chip, self.config, self.dtype = chip, config, dtype
        self.load = Loader(chip, checkpoint, dtype)
        self.heads = plan_heads(config.num_heads, config.num_kv_heads, chip.num_chips)

    def decoder(self) -> Decoder:
        """The chip's part of the whole model."""
        embedding = self.embedding()
        return Decoder(
            config=self.config,
            dtype=self.dtype,
            num_kv_heads=self.heads.num_kv_heads,
            embedding=embedding,
            blocks=tuple(
                self.block(f"model.layers.{layer}.") for layer in range(self.config.num_layers)
            ),
            norm=self.norm("model.norm.weight"),
            head=self.head(embedding),
        )

    def embedding(self) -> VocabularyEmbedding:
        """The chip's rows of the token table."""
        table = self.load.rows("model.embed_tokens.weight")
        return VocabularyEmbedding(table, self._vocabulary().start)

    def head(self, embedding: VocabularyEmbedding) -> VocabularyHead:
        """The chip's rows of the LM head: the embedding's own table where the two are tied."""
        tied = self.config.tie_word_embeddings
        weight = embedding.table_VcD if tied else self.load.rows("lm_head.weight")
        if self.config.vocab_size % self.chip.num_chips == 0:
            return VocabularyHead(weight, None, self.compute)
        part = self._vocabulary()
        mask = padding_mask(part.stop - part.start, weight.shape[0])
        hidden = self.chip.tensor(mask, self.dtype, what="logit mask")
        return VocabularyHead(weight, hidden, self.compute)

    def block(self, name: str) -> Block:
        """One decoder layer, `model.layers.<n>.`."""
        return Block(
            attention_norm=self.norm(name + "input_layernorm.weight"),
            attention=self.attention(name + "self_attn."),
            mlp_norm=self.norm(name + "post_attention_layernorm.weight"),
            mlp=self.mlp(name + "mlp."),
        )

    def norm(self, name: str) -> RmsNorm:
        """A norm, by the name of its weight."""
        return RmsNorm(self.load.whole(name), self.config.rms_norm_eps)

    def attention(self, name: str) -> Attention:
        """The chip's heads of an attention layer."""
        rank, dim = self.chip.rank, self.config.head_dim
        query, kv = self.heads.query_heads(rank), self.heads.kv_heads(rank)
        has_bias = self.config.attention_bias

        def qkv(kind: str) -> Tensor:
            names = [f"{name}{which}_proj.{kind}" for which in "qkv"]
            return self.load.head_rows(names, (query, kv, kv), dim)

        return Attention(
            qkv_weight=qkv("weight"),
            output_weight=self.load.head_cols(name + "o_proj.weight", query, dim),
            num_query_heads=self.heads.num_query_heads,
            num_kv_heads=self.heads.num_kv_heads,
            qkv_bias=qkv("bias") if has_bias else None,
            output_bias=self._once(name + "o_proj.bias") if has_bias else None,
            compute=self.compute,
        )

    def mlp(self, name: str) -> GatedMlp:
        """The chip's part of a gated MLP."""
        load, has_bias = self.load, self.config.mlp_bias
        return GatedMlp(
            gate_FcD=load.rows(name + "gate_proj.weight"),
            up_FcD=load.rows(name + "up_proj.weight"),
            down_DFc=load.cols(name + "down_proj.weight"),
            gate_bias_Fc=load.rows(name + "gate_proj.bias") if has_bias else None,
            up_bias_Fc=load.rows(name + "up_proj.bias") if has_bias else None,
            down_bias_D=self._once(name + "down_proj.bias") if has_bias else None,
            compute=self.compute,
        )

    def _once(self, name: str) -> Tensor | None:
        """A bias that an all_reduce would add once a chip: chip 0 alone has it."""
        return self.load.whole(name) if self.chip.rank == 0 else None

    def _vocabulary(self) -> slice:
        """The token ids whose rows this chip holds."""
        return part_of(self.config.vocab_size, self.chip.rank, self.chip.num_chips)
