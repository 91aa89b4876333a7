"""What lies far is frozen, through the real server and worker: hardly anything of a prompt is read again at a key."""

from pathlib import Path

import pytest

from tests.benchmarks.serve import INVOKED, WARM, measure

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.usefixtures("real_server")
async def test_at_every_key_nearly_all_of_the_prompt_is_in_the_cache(tmp_path: Path) -> None:
    measured = await measure(tmp_path, kind=INVOKED, speed=100, limit=45)
    asked = [one for one in measured if one.prompt_tokens]
    assert len(asked) >= len(measured) // 3, "what was suggested before answers too many keys to prove anything"
    assert all(one.prompt_tokens > 150 for one in asked), "the prompt is too short to prove anything"
    assert [one for one in asked if one.cached < WARM] == []
    assert {key.insert for key in (one.key for one in measured)} >= {"()", ")", "\n    "}, "the recording is too tame"
