"""The container engine that cibuildwheel uses."""

from __future__ import annotations

import pytest

from polywheel.errors import ConfigError
from polywheel.run.executors.cibuildwheel_installation import container_engine


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIBW_CONTAINER_ENGINE", raising=False)


def test_a_container_engine_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no container engine was found: no-such-engine"):
        container_engine({"linux": {"container-engine": "no-such-engine; create_args: -x"}})
    with pytest.raises(ConfigError, match="no container engine was found: no-such-engine"):
        container_engine({"container-engine": {"name": "no-such-engine"}})
