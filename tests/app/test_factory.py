"""The application is composed in one order, by steps that say why they have their place."""

import ast
import inspect
from pathlib import Path

import pytest
from flask import Flask

from app.factory import STEPS, Step, create_app
from tests.bare_services import bare_services

APP = Path(__file__).parents[2] / "app"


def installers() -> set[str]:
    """The names of all functions in `app` that install something."""
    trees = (ast.parse(path.read_text()) for path in APP.rglob("*.py"))
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {function.name for function in functions if function.name.startswith("install_")}


def test_every_installer_has_one_place_in_the_table() -> None:
    assert sorted(step.install.__name__ for step in STEPS) == sorted(installers())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.install.__name__)
def test_every_step_takes_the_services_and_says_why_it_has_its_place(step: Step) -> None:
    assert len(inspect.signature(step.install).parameters) == 2
    assert len(step.reason.split()) > 3


def test_the_composition_is_short() -> None:
    assert len(inspect.getsource(create_app).splitlines()) <= 40


def test_hooks_run_in_the_order_of_the_table() -> None:
    app = create_app(bare_services())
    hooks = [hook.__module__ for hook in app.before_request_funcs[None]]
    modules = [step.install.__module__ for step in STEPS]
    places = [modules.index(module) if module in modules else modules.index("app.routes") for module in hooks]
    assert places == sorted(places)


def test_installing_touches_nothing_but_the_application() -> None:
    services = bare_services()
    for _ in range(2):  # two applications of the same services do not meet
        assert isinstance(create_app(services), Flask)
