"""Options that the library and the command line share: their choices and defaults, without JAX."""

from typing import Literal

#: Level of the draws by default: the source method's level 2.35 times its fact 0.7.
DEFAULT_LEVEL = 1.645
#: Number of steps in which a flow is trained by default.
DEFAULT_STEPS = 3_000

HalfWidth = Literal["std", "histogram", "histogram_raw", "quantile", "mad", "core"]
