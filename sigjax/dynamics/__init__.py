"""Sigmoids that feed back on themselves: a controlled joint, a flip-flop, the sleep-wake switch."""

from ._branch import Branch as Branch
from ._branch import SpecialPoints as SpecialPoints
from ._continuation import continuation as continuation
from ._equilibria import Equilibria as Equilibria
from ._flip_flop import FlipFlop as FlipFlop
from ._joint import SigmoidJoint as SigmoidJoint
from ._sleep_wake import SleepWake as SleepWake
