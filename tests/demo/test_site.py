from __future__ import annotations

from pathlib import Path

from node.config import load_settings
from node.demo.site import laid_out, write_config


def test_the_node_accepts_the_settings_and_results_go_to_the_archive_alone(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ föld🧠er'
    folder.mkdir()
    site = laid_out(folder)
    write_config(site, 4242)
    settings = load_settings(site.config, quiet_s=2.0)
    assert settings.data.folder == folder / "var"
    assert settings.node.port == site.node.port == site.node_port
    assert settings.node.ae_title == site.node.ae_title
    assert (settings.node.address, settings.web.address) == ("127.0.0.1", "127.0.0.1")
    assert settings.web.port == site.web_port
    assert settings.models["brain-t1"].mode == "live"
    assert (settings.catalogue.models_folder / "brain-t1" / "model.toml").is_file()
    scanner, archive = settings.peers
    assert (scanner.ae_title, scanner.roles, scanner.results_to) == ("DEMO-SCANNER", ("source",), ("ARCHIVE",))
    assert (archive.name, archive.port, archive.roles, archive.results_to) == ("ARCHIVE", 4242, ("destination",), ())


def test_the_ports_differ(tmp_path: Path) -> None:
    for _ in range(20):
        site = laid_out(tmp_path)
        assert site.node_port != site.web_port
