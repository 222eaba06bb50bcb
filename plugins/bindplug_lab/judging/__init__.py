"""Image encoders compared by what audio and depth learn from them.

judgement = judge(["toy_clip", "dino"], "judge/")
judgement.own["dino"]["linear probe"], judgement.emergent["dino"]["audio"]
"""

from __future__ import annotations

from bindplug_lab.judging.anchors import TRAINED
from bindplug_lab.judging.comparison import Judgement, judge
from bindplug_lab.judging.report import write_report
from bindplug_lab.judging.settings import SENSES, JudgeSettings

__all__ = ["SENSES", "TRAINED", "JudgeSettings", "Judgement", "judge", "write_report"]
