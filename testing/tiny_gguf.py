"""GGUF files of a random Llama of one layer, whole, damaged or of odd parts."""

import gguf
import numpy as np


def tiny_gguf(  # type: ignore[no-untyped-def]
    path,
    *,
    fields=(),
    tensors=(),
    without=(),
    architecture="llama",
    tied=True,
    integers="",
    broken="",
    parts=1,
    kind=None,
):
    """Write a random Llama of 1 layer, and return its path.

    Args:
        path: of the file; of several `parts`, NAME-00001-of-0000n.gguf are written instead.
        fields, tensors: what is added, name -> value or shape.
        without: names of tensors to leave out.
        tied: whether the embedding is the head.
        integers, broken: names of a tensor that is stored as integers, and of one with NaN.
        kind: the type of the down projection, which has 256 columns then.
    """
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=0 if parts == 1 else -(-12 // parts))
    letters = [chr(0x100 + n) if n < 33 else chr(n) for n in range(60)]
    tokens = [*letters, "<|im_start|>", "<|im_end|>", '!"', "<user>"]
    given = dict(fields)
    hidden, inner, heads, kv_heads = 32, 64 if kind is None else 256, 4, 2
    for key, value in {"block_count": 1, "context_length": 64, "embedding_length": hidden}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_uint32("llama.feed_forward_length", inner)
    writer.add_uint32("llama.attention.head_count", heads)
    writer.add_uint32("llama.attention.head_count_kv", kv_heads)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_string("tokenizer.ggml.model", given.pop("tokenizer.ggml.model", "gpt2"))
    writer.add_string("tokenizer.ggml.pre", given.pop("tokenizer.ggml.pre", "smollm"))
    writer.add_array("tokenizer.ggml.tokens", tokens)
    writer.add_array("tokenizer.ggml.token_type", [1] * 60 + [3, 3, 1, 4])
    writer.add_array("tokenizer.ggml.merges", ['! "'])
    writer.add_uint32("tokenizer.ggml.eos_token_id", 61)
    for key, value in given.items():
        {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)](
            key, value
        )
    random = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": (64, hidden),
        "output_norm.weight": (hidden,),
        "blk.0.attn_norm.weight": (hidden,),
        "blk.0.attn_q.weight": (hidden, hidden),
        "blk.0.attn_k.weight": (hidden // 2, hidden),
        "blk.0.attn_v.weight": (hidden // 2, hidden),
        "blk.0.attn_output.weight": (hidden, hidden),
        "blk.0.ffn_norm.weight": (hidden,),
        "blk.0.ffn_gate.weight": (inner, hidden),
        "blk.0.ffn_up.weight": (inner, hidden),
        "blk.0.ffn_down.weight": (hidden, inner),
        **({} if tied else {"output.weight": (64, hidden)}),
        **dict(tensors),
    }
    for name, shape in shapes.items():
        if name not in without:
            weight = random.normal(size=shape).astype(np.float32)
            if name == broken:
                weight[0] = np.nan
            if kind is not None and name == "blk.0.ffn_down.weight":
                block, size = gguf.GGML_QUANT_SIZES[kind]
                # Bytes that are small numbers in any type.
                writer.add_tensor(name, np.full((hidden, inner // block * size), 0x11, np.uint8), raw_dtype=kind)
            elif name == integers:
                writer.add_tensor(name, weight.astype(np.int32))
            elif len(shape) == 1:
                writer.add_tensor(name, weight)
            else:
                eight = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(name, gguf.quants.quantize(weight, eight), raw_dtype=eight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
