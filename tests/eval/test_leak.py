"""Measuring canaries: what one forward pass says is what decoding and single rows say; a run that reads them more often leaks more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from eval.heldout import Answer, answer_losses
from eval.leak.canaries import canary_answers
from eval.leak.record import make_leak_test
from eval.leak.surprise import surprises
from eval.weights import load_weights
from governance_hooks.canaries import canaries
from governance_hooks.errors import BadInput
from governance_hooks.leak import judge_leak
from governance_hooks.leak_policy import LeakPolicy
from governance_hooks.plan import EvaluationPolicy, Limits, read_plan
from tests.tiny import write_base
from tests.train.conftest import CODE, COOP, TINY, USE, write_build
from train.config import RunConfig
from train.plan import resolve
from train.run import train
from tests.passing import Passing
from governance_hooks.training import Training, Lora

SEED = bytes(range(32))
