"""Simulated searches of a `retrieve` config: how many, how long, and the rule that stops them."""

from omegaconf import DictConfig

from seekloop.commands.parts import build
from seekloop.contracts.protocols import Criterion
from seekloop.loop.stopping import Rule, criterion_name
from seekloop.protocol.simulation import Simulation
from seekloop.protocol.stopping import check_rule


def simulation_of(config: DictConfig) -> Simulation:
    """The numbers of the searches.

    Raises:
        ConfigError: if one is out of its range.
    """
    numbers = {key: value for key, value in config.loop.items() if key != "stop"}
    return Simulation(**numbers, **config.metrics, seed=config.seed)


def stop_rule(config: DictConfig, criterion: Criterion) -> Rule | None:
    """The rule that stops the searches; None where nothing does.

    Raises:
        ConfigError: if it could never say stop with this criterion.
    """
    rule: Rule | None = build(config, "loop.stop")
    if rule is not None:
        check_rule(rule, criterion_name(criterion))
    return rule
