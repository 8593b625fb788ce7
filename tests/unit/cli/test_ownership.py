import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tunesmith.cli.ownership import DataFolderInUse, announce, owned

URL = "http://127.0.0.1:1234"


@pytest.mark.parametrize("command", ["server", "serve"])
def test_a_second_server_is_told_where_the_first_one_is(
    run: Run, data_dir: Path, command: str
) -> None:
    with owned(data_dir):
        announce(data_dir, URL)
        second = run(command, "--port", "0")
    assert second.exit_code == 1
    assert URL in second.stderr
    assert "--data-dir" in second.stderr


def test_a_folder_is_free_again_when_its_owner_is_gone(data_dir: Path) -> None:
    with owned(data_dir):
        announce(data_dir, URL)
    with owned(data_dir):
        assert not (data_dir / "server.json").exists()


def test_the_address_of_an_owner_that_was_killed_is_not_believed(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "server.json").write_text(json.dumps({"url": URL, "pid": 1}))
    with owned(data_dir), pytest.raises(DataFolderInUse) as refused, owned(data_dir):
        pass
    assert refused.value.url is None
