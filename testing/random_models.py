"""Random models in the shapes of real ones, so that nothing is downloaded."""

from pathlib import Path

SHAPES: dict[str, tuple[int, int, int, int, int, int]] = {  # hidden, feed-forward, layers, heads, key/value heads, V
    "tiny": (64, 128, 2, 4, 2, 49152),
    "smollm2": (576, 1536, 30, 9, 3, 49152),
    "1b": (2048, 8192, 16, 32, 8, 128256),
}


def make_model(shape: str, base: Path, *, tied: bool = True) -> None:
    """Random weights in bf16, as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    hidden, inner, layers, heads, kv_heads, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=tied,
        initializer_range=0.04,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(base)
