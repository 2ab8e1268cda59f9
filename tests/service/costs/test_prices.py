"""What a second of a GPU costs."""

import pytest

from service.composition.factories import create_runner
from service.costs.prices import GPU_USD_PER_SECOND, find_price
from service.dispatch.runners.modal import ModalRunner
from service.settings import load_settings
from service.workers.starter import WorkerStarter


@pytest.mark.parametrize(
    ("gpu", "price"),
    [
        pytest.param("L4", 0.000222, id="a name"),
        pytest.param("h100!", 0.001097, id="a name that allows no upgrade, in small letters"),
        pytest.param("A100", 0.000583, id="another name for one"),
        pytest.param("L4:4", 0.000888, id="several"),
        pytest.param("L4, A10", 0.000306, id="a list costs what its dearest does"),
        pytest.param("L4,X1", None, id="a list with an unknown one"),
        pytest.param("X1", None, id="unknown"),
        pytest.param("L4:many", None, id="malformed"),
        pytest.param(None, 0.0, id="no GPU"),
    ],
)
def test_a_second_costs_what_the_table_says(gpu: str | None, price: float | None) -> None:
    assert find_price(gpu) == pytest.approx(price)


def test_a_setting_replaces_the_price_of_a_gpu_and_only_of_one() -> None:
    assert find_price("X1", 0.5) == 0.5
    assert find_price(None, 0.5) == 0


@pytest.mark.parametrize(
    ("server", "override", "price"),
    [
        pytest.param(None, None, GPU_USD_PER_SECOND["L4"], id="Modal"),
        pytest.param("https://api.modal.com", None, GPU_USD_PER_SECOND["L4"], id="Modal by its URL"),
        pytest.param("http://127.0.0.1:1", None, 0.0, id="another control plane"),
        pytest.param("http://127.0.0.1:1", 0.5, 0.5, id="another control plane with a price"),
    ],
)
def test_only_runs_on_modal_itself_cost_what_a_gpu_does(
    server: str | None, override: float | None, price: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server is None:
        monkeypatch.delenv("MODAL_SERVER_URL", raising=False)
    else:
        monkeypatch.setenv("MODAL_SERVER_URL", server)
    settings = load_settings(
        modal_enabled=True,
        public_url="https://video.example.com",
        callback_secret="a callback secret that is long enough for it",
        gpu_usd_per_second=override,
        _env_file="",
    )
    runner = create_runner(settings, WorkerStarter())
    assert isinstance(runner, ModalRunner)
    assert find_price(runner.gpu, settings.gpu_usd_per_second) == price
