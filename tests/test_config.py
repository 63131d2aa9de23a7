"""Recipes: what is mistyped is named with its place and remedy, and what is written is read back equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from msgfm.config import (
    Config,
    apply_override,
    config_from_dict,
    config_to_dict,
    load_config,
    save_yaml,
)
from msgfm.errors import InputError
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.pretraining.config import PretrainConfig
from msgfm.yaml_text import parse_yaml


class Leaf(Config):
    learning_rate: float = Field(default=1e-3, gt=0)
    milestones: tuple[float, ...] = ()


class Sized(Config):
    """Like the encoder: a name stands for settings."""

    width: int = 8
    leaf: Leaf | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, settings: Any) -> Any:
        if isinstance(settings, str):
            settings = {"preset": settings}
        if "preset" not in settings:
            return settings
        if settings["preset"] not in ("wide", "narrow"):
            raise ValueError(f"no preset {settings['preset']!r}; there are wide, narrow")
        width = {"wide": 100, "narrow": 1}[settings["preset"]]
        return {"width": width} | {key: value for key, value in settings.items() if key != "preset"}


class Sailing(Config):
    kind: Literal["sailing"] = "sailing"
    sail_area: float = 1.0


class Rowing(Config):
    kind: Literal["rowing"] = "rowing"
    oars: int = 2


class Fleet(Config):
    first: Sailing | Rowing = Field(default=Rowing(), discriminator="kind")
    other: Sailing | Rowing | None = None


class Root(Config):
    named: dict[str, Leaf] = Field(default={})
    listed: tuple[Leaf, ...] = ()
    maybe: Leaf | None = None
    sized: Sized = Sized()
    devices: int | Literal["auto"] = "auto"
    out: Path = Path("runs")
    text: str = ""
    share: float = 0.5

    @model_validator(mode="after")
    def _check(self) -> Root:
        if self.share == 0.25:
            raise ValueError("share 0.25 does not go with the rest")
        return self


RECIPE = {
    "out": "runs/x",
    "sources": {"rgb": {"manifest": "m.parquet", "lr": 1e-3, "batch_size": 2}},
    "model": {"encoder": "small"},
    "epochs": 3,
}


def refusal(tree: dict[Any, Any], kind: type[Config] = Root) -> str:
    with pytest.raises(InputError) as caught:
        config_from_dict(kind, tree, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    assert "pydantic" not in message
    assert "http" not in message
    return message.removeprefix("mine.yaml: ")


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"lern_rate": 1}, None),
        ({"maybe": {"lern_rate": 1}}, "maybe"),
        ({"named": {"rgb": {"lern_rate": 1}}}, "named.rgb"),
        ({"named": {"learning_rate": {"lern_rate": 1}}}, "named.learning_rate"),  # a name that is also a field
        ({"listed": [{}, {"lern_rate": 1}]}, "listed.1"),
        ({"sized": {"leaf": {"lern_rate": 1}}}, "sized.leaf"),
        ({"sized": {"preset": "wide", "leaf": {"lern_rate": 1}}}, "sized.leaf"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one(tree, place):
    if place is None:
        # nothing here is like it: all valid keys are listed
        assert refusal(tree) == (
            "lern_rate: unknown key 'lern_rate'; valid here: devices, listed, maybe, named, out, share, sized, text"
        )
    else:
        assert refusal(tree) == f"{place}.lern_rate: unknown key 'lern_rate'; did you mean 'learning_rate'?"


def test_keys_of_another_member_of_a_union_are_not_offered():
    assert refusal({"first": {"kind": "rowing", "sail_area": 3}}, Fleet) == (
        "first.sail_area: unknown key 'sail_area'; valid here: kind, oars"
    )
    assert refusal({"first": {"kind": "sailing", "sail_aria": 3}}, Fleet).endswith("did you mean 'sail_area'?")
    message = refusal({"other": {"kind": "rowing", "sail_area": 3}}, Fleet)
    assert "valid here: kind, oars" in message
    assert "did you mean 'sail_area'" not in message


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"epoch": 3}, "epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"sources": {"rgb": {"batch_sise": 2}}}, "sources.rgb.batch_sise: .*did you mean 'batch_size'"),
        ({"model": {"encoder": {"preset": "small", "windw_size": 7}}}, "model.encoder.windw_size: .*'window_size'"),
        ({"model": {"encoder": {"moe": {"num_expert": 7}}}}, "model.encoder.moe.num_expert: .*'num_experts'"),
        ({"model": {"encoder": "smal"}}, "model.encoder: no encoder preset 'smal'; there are base, small, tiny"),
        ({"optim": {"warmup_epoch": 7}}, "optim.warmup_epoch: .*did you mean 'warmup_epochs'"),
        ({"hardware": {"devices": "all"}}, r"hardware.devices: .*valid integer.*, or .*'auto'"),
    ],
)
def test_mistakes_in_a_pretraining_recipe(tree, expected):
    config_from_dict(PretrainConfig, RECIPE, "fine")
    message = refusal(RECIPE | tree, PretrainConfig)
    lines = message.split("\n  ")
    assert any(re.match(expected, line) for line in lines), message


def test_every_mistake_is_told_at_once_a_line_each():
    message = refusal({"maybe": {"learning_rate": -1}, "named": {"a": {"x": 1, "milestones": 3}}, "share": "half"})
    assert {line.partition(":")[0] for line in message.split("\n  ")} == {
        "maybe.learning_rate",
        "named.a.x",
        "named.a.milestones",
        "share",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": [-1]}, "seeds.0: should be greater than or equal to 0 (got -1)"),
        ({"seeds": []}, "seeds: should have at least 1 (got [])"),
        ({"seeds": 3}, "seeds: should be a list (got 3)"),
        (
            {"backbone": {"kind:rule": None}},
            "backbone: without kind; write {kind: NAME, ...}, with a space behind each colon",
        ),
    ],
)
def test_a_mistake_is_told_once_and_without_words_of_python(changes, expected):
    recipe = {"out": "o", "data": {"manifest": "m"}, "inputs": ["rgb"], "task": {"kind": "classification"}}
    assert refusal(recipe | changes, FinetuneConfig) == expected


def test_a_wrong_value_is_shown_but_not_the_group_it_stands_in():
    assert refusal({"maybe": {"learning_rate": -1}}) == ("maybe.learning_rate: should be greater than 0 (got -1)")
    assert refusal({"share": 0.25}) == "share 0.25 does not go with the rest"
    assert refusal({"sized": {"width": [1]}}) == "sized.width: should be a valid integer (got [1])"
    assert refusal({"devices": "all"}).count("devices: ") == 1, "the branches of a union are one place"
    assert refusal({"share": float("nan")}).startswith("share: should be a finite number")
    assert "missing" in refusal({}, PretrainConfig)


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Root().share = 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("25e-6", 25e-6), ("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5e1", 5.0), ("+1.e2", 100.0),
        ("0.1", 0.1), ("12", 12), ("true", True), ("null", None), ("'1e-4'", "1e-4"), ("1e-4x", "1e-4x"),
        ("e-4", "e-4"), ("2026-05-01", "2026-05-01"), ("2026-99-99", "2026-99-99"), ("[1e-4, a]", [1e-4, "a"]),
    ],
)  # fmt: skip
def test_numbers_and_texts_of_yaml(text, value):
    parsed = parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "x:\n  y: {lr: 1, lr: 1}", "- {a: 1, a: 2}", "'a': 1\na: 2"])
def test_a_key_that_stands_twice_is_refused(tmp_path, text):
    with pytest.raises(yaml.YAMLError, match=r"(a|lr) stands more than once"):
        parse_yaml(text)


def test_merged_groups_are_no_duplicates():
    text = "base: &base {lr: 1, split: all}\nothers: {one: &one {<<: *base, lr: 2}}\nlast: {<<: *one, split: val}"
    assert parse_yaml(text)["last"] == {"lr": 2, "split": "val"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"share: [1", "is not YAML"),
        (b"share: 1\nshare: 1", "share stands more than once"),
        (b"? [a]\n: 1\n", "is not YAML"),
        (b"", "holds NoneType, not keys and values"),
        (b"- a\n", "holds list, not keys and values"),
        (b"text: \xff\n", "cannot read recipe"),
        (b"text: \x00\n", "is not YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_config(Root, path)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot read recipe .*nowhere.yaml.*No such file"):
        load_config(Root, tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="cannot read recipe"):
        load_config(Root, tmp_path)


def override(text: str, tree: dict[str, Any]) -> dict[str, Any]:
    apply_override(tree, text)
    return tree


@pytest.mark.parametrize(
    ("text", "tree", "expected"),
    [
        ("share=1e-4", {}, {"share": 1e-4}),
        ("a.b.c=x", {}, {"a": {"b": {"c": "x"}}}),
        ("a.b=2", {"a": {"b": 1, "c": 3}}, {"a": {"b": 2, "c": 3}}),
        ("a.b=2", {"a": None}, {"a": {"b": 2}}),
        ("a=[1, 2e-1]", {"a": 3}, {"a": [1, 0.2]}),
        ("a=", {"a": 3}, {"a": None}),
        ("a=null", {"a": {"b": 1}}, {"a": None}),
        ("a=b=c", {}, {"a": "b=c"}),
        ("a={preset: x}", {}, {"a": {"preset": "x"}}),
        ("a.1=9", {"a": [1, 2]}, {"a": [1, 9]}),
        ("a.0.b=9", {"a": [{"b": 1}]}, {"a": [{"b": 9}]}),
        ("a.0.b.c=9", {"a": [{"b": None}]}, {"a": [{"b": {"c": 9}}]}),
        ("a.b=9", {"a": "small"}, {"a": {"preset": "small", "b": 9}}),
        ("a.0.b=9", {"a": ["small"]}, {"a": [{"preset": "small", "b": 9}]}),
    ],
)
def test_overrides(text, tree, expected):
    assert override(text, tree) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("share", "write key.sub=value"),
        ("=3", "write key.sub=value"),
        ("share.x=3", "share is 0.5, not a group of keys"),
        ("a.flag.x=3", "a.flag is True, not a group of keys"),
        ("listed.2=3", "'2' is not a position in a list of 2"),
        ("listed.-1=3", "'-1' is not a position in a list of 2"),
        ("listed.x.y=3", "'x' is not a position in a list of 2"),
        ("listed.0.y=3", "listed.0 is 1, not a group of keys"),
        ("share=[1", "the value is not YAML"),
        ("share={a: 1, a: 2}", "a stands more than once"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_and_repeated(text, message):
    tree = {"share": 0.5, "listed": [1, 2], "a": {"flag": True}}
    with pytest.raises(InputError, match=message) as caught:
        apply_override(tree, text)
    assert repr(text) in str(caught.value)
    assert tree == {"share": 0.5, "listed": [1, 2], "a": {"flag": True}}


def test_overrides_come_before_the_check_and_in_order(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("share: 0.25\nlisted: [{learning_rate: 1}]\n")
    config = load_config(Root, path, ["share=0.75", "listed.0.learning_rate=25e-6", "share=0.5", "out=2026-05-01"])
    assert config == Root(share=0.5, listed=(Leaf(learning_rate=25e-6),), out=Path("2026-05-01"))
    with pytest.raises(InputError, match="shaer: unknown key 'shaer'; did you mean 'share'"):
        load_config(Root, path, ["shaer=1"])


def test_one_setting_on_top_of_a_preset(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    plain = load_config(PretrainConfig, path).model.encoder
    wider = load_config(PretrainConfig, path, ["model.encoder.window_size=7"]).model.encoder
    assert plain.embed_dim == 48
    assert wider == plain.model_copy(update={"window_size": 7})
    experts = load_config(PretrainConfig, path, ["model.encoder.moe.num_experts=16"]).model.encoder
    assert plain.moe is not None
    assert plain.moe.blocks == (1,)
    assert experts == plain.model_copy(update={"moe": plain.moe.model_copy(update={"num_experts": 16})})


# but for Unicode's line breaks, which PyYAML folds as it does \n, texts are exact
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=12) | st.sampled_from(
    ["1e-4", "25e6", "012", "yes", "null", "~", "2026-05-01", "1:30", "=", "<<", "a: b", "# x", "- x", " x ", ""]
)
floats = st.floats(min_value=1e-300, max_value=1e300)
leaves = st.builds(Leaf, learning_rate=floats, milestones=st.lists(floats, max_size=2).map(tuple))


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Root,
        named=st.dictionaries(texts, leaves, max_size=2),
        listed=st.lists(leaves, max_size=2).map(tuple),
        maybe=st.none() | leaves,
        devices=st.integers() | st.just("auto"),
        text=texts,
        share=st.floats(0.3, 0.9),
    )
)
def test_what_is_saved_is_loaded_equal(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    save_yaml(config, path)
    assert load_config(Root, path) == config
    assert config_from_dict(Root, config_to_dict(config), "dict") == config


def test_a_pretraining_recipe_is_loaded_equal(tmp_path):
    config = config_from_dict(PretrainConfig, RECIPE, "recipe")
    save_yaml(config, tmp_path / "saved.yaml")
    assert load_config(PretrainConfig, tmp_path / "saved.yaml") == config
