"""How a run is executed: when it logs, saves and validates, and how it uses the machine.

All of it may change when a run is resumed, except the precision.
"""

from __future__ import annotations

from dataclasses import dataclass

from swfastedit_core.system.processors import available_cpus
from swfastedit_core.train.setting import SHARE_BELOW_ONE, at_least, require_valid, setting


@dataclass(frozen=True)
class Schedule:
    """How often a run logs, saves and validates."""

    validate_steps: int = setting(
        0,
        "--validate-every",
        "steps between two validations",
        metavar="STEPS",
        default_text="at the end only",
        check=at_least(0),
    )
    validation_cases: int = setting(
        0,
        "--validation-cases",
        "maximum number of held-out cases in a validation",
        metavar="N",
        default_text="all",
        check=at_least(0),
    )
    validation_overlap: float = setting(
        0.5, "--validation-overlap", "overlap of the windows in a validation", metavar="X", check=SHARE_BELOW_ONE
    )
    validation_clicks: int = setting(
        10,
        "--validation-clicks",
        "with --interactive, a validation also segments each scan with this number of simulated clicks of each kind; "
        "0: without clicks only",
        metavar="N",
        check=at_least(0),
    )
    log_steps: int = setting(
        50, "--log-every", "steps between two lines of the log", metavar="STEPS", check=at_least(1)
    )
    save_minutes: float = setting(
        10.0, "--save-every", "minutes between two saved states", metavar="MINUTES", check=at_least(0)
    )
    kept_states: int = setting(3, "--keep", "saved states that are kept", metavar="N", check=at_least(1))

    def __post_init__(self) -> None:
        require_valid(self)


@dataclass(frozen=True)
class MachineSettings:
    """Device, precision and processes, as the user asks for them."""

    device: str = setting("auto", "--device", "auto, cpu, cuda or cuda:N")
    precision: str = setting("auto", "--precision", "auto, float32, bfloat16 or float16")
    loaders: int | None = setting(
        None,
        "--loaders",
        "processes that make crops; 0 makes them in the training process",
        metavar="N",
        default_text="1 on a CPU, up to 8 for each GPU, as the cores allow",
        check=at_least(0),
    )
    preparers: int | None = setting(
        None,
        "--preparers",
        "processes that examine and prepare cases",
        metavar="N",
        default_text="all cores",
        check=at_least(1),
    )
    compiled: bool = setting(False, "--compile", "compile the network with torch: a slow start, then faster steps")

    def __post_init__(self) -> None:
        require_valid(self)

    def preparer_count(self) -> int:
        """Return the number of processes that examine and prepare cases."""
        return available_cpus() if self.preparers is None else self.preparers

    def resolve(self, *, precision: str, cuda: bool, local_ranks: int) -> Machine:
        """Replace ``auto`` and None by values for this machine.

        Parameters
        ----------
        precision
            From `fabric.training_precision`.
        cuda
            Whether the run trains on GPUs.
        local_ranks
            Training processes on this machine; each gets its own loaders.
        """
        loaders = self.loaders
        if loaders is None:
            loaders = min(8, max(1, (available_cpus() - 1) // local_ranks)) if cuda else 1
        return Machine(precision, self.compiled, loaders, self.preparer_count())


@dataclass(frozen=True)
class Machine:
    """How one training process uses the machine.

    Attributes
    ----------
    precision
        ``float32``, ``bfloat16`` or ``float16``.
    compiled
        Compile the network with torch.
    loaders, preparers
        Processes that make crops; processes that examine and prepare cases.
    """

    precision: str
    compiled: bool
    loaders: int
    preparers: int
