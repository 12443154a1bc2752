"""The names that Tenstorrent's profiler gives to ops; readers of its reports sort ops by them."""

from ...chip.record import OpRecord

_NAMES = {
    "add": "BinaryNg",
    "mul": "BinaryNg",
    "silu": "Unary",
    "embedding": "Embeddings",
    "linear": "Matmul",
    "rms_norm": "LayerNorm",
    "create_heads": "NlpCreateHeads",
    "create_heads_decode": "NLPCreateQKVHeadsDecode",
    "concat_heads": "NLPConcatHeads",
    "concat_heads_decode": "NLPConcatHeadsDecode",
    "scaled_dot_product_attention_decode": "SdpaDecode",
    "fill_cache": "UpdateCache",
    "update_cache": "PagedUpdateCache",
    "reshape": "ReshapeView",
    "argmax": "ArgMax",
    "topk": "TopK",
    "all_reduce": "AllReduceAsync",
    "all_gather": "AllGatherAsync",
    "reduce_scatter": "ReduceScatterMinimalAsync",
    "all_to_all": "AllToAllAsyncGeneric",
    "send": "SendAsync",
    "recv": "RecvAsync",
}
"""Where a name is not that of our op in CamelCase. Sources: tt-perf-report 1.4.1
OPERATION_CATEGORIES, which lists the names that it knows; tt-metal ttnn/cpp/ttnn/operations."""


def op_code(record: OpRecord) -> str:
    """The profiler's name of an op, such as MatmulDeviceOperation."""
    name = record.name
    if name == "attention":  # one query position is a decode step: another op there
        one = record.input_shapes[0][-2:-1] == (1,)
        return "SdpaDecodeDeviceOperation" if one else "SDPAOperation"
    camel = "".join(word.capitalize() for word in name.split("_"))
    return f"{_NAMES.get(name, camel)}DeviceOperation"
