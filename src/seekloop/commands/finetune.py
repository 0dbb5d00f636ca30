"""`seekloop finetune`: a backbone fine-tuned on the matching images of a collection; its weights are a file."""

from omegaconf import DictConfig

from seekloop.commands.extract import report_collection
from seekloop.commands.parts import build
from seekloop.logs.console import Console
from seekloop.training.contrastive_fit import FineTuning, trainable


def finetune(config: DictConfig) -> float:
    """Fine-tune, or find that it was done, and say how to use the weights; returns the loss of the last epoch."""
    console = Console()
    collection, backbone = build(config, "collection"), trainable(build(config, "backbone"))
    report_collection(collection, console)
    stage = FineTuning(build(config, "finetuning"), backbone, collection, config.store_dir, config.seed)
    weights = stage.ensure(console.say)
    last = stage.epochs()[-1]
    pooling = f"pooling=gem pooling.p={last['p']:.4g}" if stage.settings.pooling == "gem" else "pooling=max"
    console.say(f"loss {last['loss']:.4f} in the last epoch; to use it: backbone.checkpoint={weights} {pooling}")
    return float(last["loss"])
