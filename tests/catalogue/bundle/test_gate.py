from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from node.catalogue.bundle import complaints, components

HARMLESS: dict[str, Any] = {
    "imports": ["$import torch", "$import numpy as np"],
    "bundle_root": "/somewhere",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "image_key": "image",
    "size": [96, 96, 96],
    "out_size": 80,
    "network_def": {"_target_": "UNet", "spatial_dims": 3, "_desc_": "a network", "channels": [8, 16]},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
            {"_target_": "monai.transforms.ScaleIntensityd", "keys": "image", "_disabled_": True},
            {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: torch.where(x[[2]] > 0, 4, x[1:])"},
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": "@size",
        "overlap": "$1.0 - float(@out_size) / float(@size#0)",
    },
    "more": ["$list(set([i + 1 for i in range(132)]) - set([2, 16]))", "$((@out_size - 8) // 2,) * 4", "$np.float32"],
    "macro": "%network_def::channels",
}


def test_what_a_bundle_ordinarily_does_is_let_through() -> None:
    assert complaints(HARMLESS) == []


def expression(text: str) -> dict[str, Any]:
    return {"size": 1, "network_def": {"_target_": "UNet", "channels": text}}


def target(name: Any, **more: Any) -> dict[str, Any]:
    return {"network_def": {"_target_": name, **more}}


HOSTILE: dict[str, dict[str, Any]] = {
    "a target that is a function of the system": target("os.system", command="touch {mark}"),
    "a builtin": target("builtins.eval", source="1"),
    "a module of MONAI that holds another": target("monai.transforms.io.array.os.system", command="touch {mark}"),
    "a part of PyTorch that loads": target("torch.load", f="x.pt"),
    "an attribute of a class": target("torch.nn.Module.__init_subclass__"),
    "a loader that looks its reader up": target("LoadImage", reader="os.system"),
    "a loader under its whole name": target("monai.transforms.io.dictionary.LoadImaged", keys="a", reader="x.y"),
    "a merger looked up by name": target("PatchInferer", splitter=None, merger_cls="antigravity"),
    "a writer": target("WriteFileMapping", mapping_file_path="{mark}"),
    "the bundle's own Python": target("scripts.net.Net"),
    "a reference as a target": {"evil": "os.system", **target("@evil", command="touch {mark}")},
    "a macro as a target": {"evil": "os.system", **target("%evil", command="touch {mark}")},
    "an expression as a target": target("$print"),
    "no text as a target": target(["os.system"]),
    "blanks around a target": target(" os.system ", command="touch {mark}"),
    "a debugger": target("UNet", _mode_="debug"),
    "a mode that is put together": target("UNet", _mode_="$'de' + 'bug'"),
    "a breakpoint among the arguments": target("UNet", _debug_=True),
    "a description that is evaluated": target("UNet", _desc_="$open('{mark}', 'w')"),
    "a dependency that is evaluated": target("UNet", _requires_=["$open('{mark}', 'w')"]),
    "a dependency that is built": target("UNet", _requires_={"_target_": "os.system", "command": "touch {mark}"}),
    "an argument of what is disabled": target("UNet", _disabled_=True, x="$open('{mark}', 'w')"),
    "a switch that is evaluated": target("UNet", _disabled_="$open('{mark}', 'w')"),
    "opening a file": expression("$open('{mark}', 'w').write('x')"),
    "importing inside": expression("$__import__('os').system('touch {mark}')"),
    "the classes of everything": expression("$().__class__.__base__.__subclasses__()"),
    "a dunder in two halves": expression("$getattr((), '__cla' + 'ss__')"),
    "a format that reads attributes": expression("$'{{0.__class__}}'.format(1)"),
    "setting an attribute": expression("$setattr(torch.backends.cudnn, 'benchmark', True)"),
    "evaluating text": expression("$eval('1')"),
    "executing text": expression("$exec('1')"),
    "compiling text": expression("$compile('1', '', 'eval')"),
    "loading a pickle": expression("$torch.load('x.pt', weights_only=False)"),
    "loading from a hub": expression("$torch.hub.load('a/b', 'c')"),
    "loading an array that is a pickle": expression("$np.load('x.npy', allow_pickle=True)"),
    "a module reached through NumPy": expression("$np.lib.npyio.os.system('touch {mark}')"),
    "a module reached through MONAI": expression("$monai.transforms.io.array.os.system('touch {mark}')"),
    "saving": expression("$torch.save(1, '{mark}')"),
    "writing an array": expression("$np.zeros(1).tofile('{mark}')"),
    "applying a function of the network": expression("$@size.register_forward_hook(print)"),
    "an import": {"imports": ["$import os"], **expression("$1")},
    "an import somewhere else": {"other": {"deep": ["$from os import system"]}, **expression("$1")},
    "an import before a statement": {"imports": ["$import torch; import os"], **expression("$1")},
    "statements": expression("$1\nimport os"),
    "a name given another meaning": expression("$(lambda open: 0)(1) or open('{mark}', 'w')"),
    "a name bound on the way": expression("$(x := open('{mark}', 'w'))"),
    "a comprehension over a builtin": expression("$[open for open in [1]] + [open('{mark}', 'w')]"),
    "a text that a reference breaks open": expression("$'@+open(chr(120))+'"),
    "the references themselves": expression("$__local_refs.clear()"),
    "one reference by another name": expression("$__local_refs['si' + 'ze']"),
    "the whole configuration": expression("$@"),
    "the whole configuration, from within": expression("@##"),
    "letters that only look different": expression("$ｏｐｅｎ('{mark}', 'w')"),
    "a key that becomes code": {"a'+open('{mark}','w')+'": {"b": "$'@#c'"}, **expression("$1")},
    "a macro inside a text that becomes code": {"a": {"b": "$'%#c'"}, **expression("$1")},
    "a key that stands for a path": {"a::b": {"_target_": "UNet"}, **expression("$1")},
    "two keys that are one": {"a": {1: 2, "1": 3}, **expression("$1")},
    "a macro out of the bundle": expression("%/etc/passwd.json::a"),
    "a macro into a file": expression("%other.json"),
    "a macro that looks up": expression("%../../other.yaml::a"),
    "weights from anywhere": target("HoVerNet", pretrained_url="https://example.org/x.pt"),
    "a tower of powers": expression("$9**9**9**9"),
    "more nesting than anybody needs": expression("$" + "-" * 1900 + "1"),
    "more text than anybody needs": expression("$" + "1+" * 3000 + "1"),
    "a null byte": expression("$1\0"),
    "what no file of JSON holds": {"a": {1, 2}, **expression("$1")},
}


@pytest.mark.parametrize("configuration", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_runs_more_than_a_network_is_refused(configuration: dict[str, Any]) -> None:
    assert complaints(configuration)


def test_a_complaint_says_where_and_what() -> None:
    found = complaints({"network_def": {"_target_": "UNet", "_requires_": ["$open('x')"]}})
    assert found == ["network_def::_requires_::0 names open ($open('x'))"]


@pytest.mark.parametrize(
    "configuration",
    [
        target("UNet", _mode_="debug"),
        target("UNet", _debug_=True),
        expression("%other.json"),
        target("HoVerNet", pretrained_url="https://example.org/x.pt"),
    ],
)
def test_some_things_no_trust_allows(configuration: dict[str, Any]) -> None:
    assert complaints(configuration, own_code=True)


def test_trusted_code_may_do_the_rest() -> None:
    assert complaints({"imports": ["$import scripts"], **target("scripts.net.Net")}, own_code=True) == []


def test_aliases_cannot_make_it_endless() -> None:
    endless: list[Any] = []
    endless.append(endless)
    wide: Any = "x"
    for _ in range(30):
        wide = [wide] * 10
    for value in (endless, wide):
        assert complaints({"a": value}) == ["the configuration has more than 100000 parts"]


def test_every_part_that_may_be_built_is_there() -> None:
    found = importlib.util.find_spec("monai")
    assert found is not None
    assert found.origin is not None
    root = Path(found.origin).parent
    defined: dict[str, set[str]] = {}
    for full in sorted(components.names()):
        module, _, name = full.rpartition(".")
        if not module.startswith("monai."):
            continue
        if module not in defined:
            path = root.joinpath(*module.split(".")[1:])
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            defined[module] = set(_named(ast.parse(file.read_text(encoding="utf-8"))))
        assert name in defined[module], full


def _named(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return names


def test_a_bare_name_means_one_part_alone() -> None:
    assert components.resolved("UNet") == "monai.networks.nets.unet.UNet"
    assert components.resolved("monai.networks.nets.UNet") == "monai.networks.nets.unet.UNet"
    assert components.resolved("Encoder") is None
    assert components.resolved("Conv3d") is None
    assert components.resolved("torch.nn.Conv3d") == "torch.nn.Conv3d"


def test_a_network_of_ours_may_be_built_by_its_whole_name_alone() -> None:
    ours = "node.imaging.networks.efficientnet_lite.EfficientNetLite"
    assert components.resolved(ours) == ours
    assert complaints({"network_def": {"_target_": ours}}) == []
    assert components.resolved("EfficientNetLite") is None


@pytest.mark.parametrize(
    "target", ["node.imaging.formats.network_of", "node.store.files.write_durably", "node.cli.app"]
)
def test_nothing_else_of_ours_may_be_built(target: str) -> None:
    assert complaints({"network_def": {"_target_": target}}) == [f"network_def builds {target}"]
