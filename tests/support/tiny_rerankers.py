"""A cross-encoder for tests: one random layer with MiniLM's tokenizer."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from data.embeddings import resolve_embedder


def cross_encoder(folder: Path) -> Path:
    """Writes the model into the folder, which it returns."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_embedder("embedded"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
