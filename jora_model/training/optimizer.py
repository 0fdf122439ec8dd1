"""The optimizer and its learning rate: AdamW under a schedule, with LoRA+'s own rate for B and DoRA's m."""

from typing import Any

import jax
import optax

from jora_model.spec.job import TrainSettings


def make_optimizer(settings: TrainSettings, updates: int) -> optax.GradientTransformation:
    """AdamW with the schedule's learning rate, after clipping by global norm.

    LoRA+ (arXiv 2402.12354): B has `lora_plus_ratio` times the learning rate of A, and so has DoRA's m, a vector. That
    scales their weight decay too, as in PEFT's `create_loraplus_optimizer`, since AdamW multiplies the decay by the
    learning rate.
    """

    def faster(change: Any, adapter: Any) -> Any:
        def scaled(path: Any, x: Any) -> Any:
            name = jax.tree_util.keystr(path)
            return x * settings.lora_plus_ratio if "lora_b" in name or "lora_m" in name else x

        return jax.tree.map_with_path(scaled, change)

    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.adamw(learning_rate_at(settings, updates), weight_decay=settings.weight_decay),
        optax.stateless(faster),
    )


def learning_rate_at(settings: TrainSettings, updates: int) -> optax.Schedule:
    """Learning rate by update index, from 0: linear warm-up to the peak, then `schedule`.

    The decays reach zero after the last of `updates`; the first and the last update have a rate above zero. Any
    warm-up takes at least one update, and warmup_fraction=0 none.
    """
    peak = settings.learning_rate
    warmup = max(round(settings.warmup_fraction * updates), 1) if settings.warmup_fraction else 0
    rest = max(updates - warmup, 1)
    after = {
        "cosine": optax.cosine_decay_schedule(peak, rest),
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "constant": optax.linear_schedule(peak, peak, rest),  # of the shape of its argument, as the others
    }[settings.schedule]
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(peak / (warmup + 1), peak, warmup), after], [warmup])
