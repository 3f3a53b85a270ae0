"""`foveal data check` of pictures with several labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from foveal.audit.checking import check
from foveal.audit.page import write_check


def test_a_check_reads_several_labels_and_its_page_and_list_say_them(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), ["path,labels"]
    for i in range(60):
        shows = rng.random(2) < 0.5
        pixels = rng.integers(0, 60, (24, 24, 3))
        pixels[4:12, 4:12, 0] += 180 * int(shows[0])
        pixels[12:20, 12:20, 2] += 180 * int(shows[1])
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
        labels = [name for name, there in zip(("red", "blue"), shows, strict=True) if there]
        if i == 7:
            labels = [name for name in ("red", "blue") if name not in labels]
        rows.append(f"{i}.png,{';'.join(labels)}")
    (tmp_path / "59.png").write_bytes((tmp_path / "0.png").read_bytes())
    rows[60] = rows[1].replace("0.png", "59.png")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = check(tmp_path / "t.csv")
    assert found.of_classes.tolist() == found.dataset.multi_hot.sum(0).tolist()
    assert any({found.name(pair.first), found.name(pair.second)} == {"0.png", "59.png"} for pair in found.duplicates)
    suspects = [row for row in found.rows() if str(row[1]).startswith("label")]
    assert {row[0] for row in suspects[:2]} == {"7.png"}
    assert all("" in (row[3], row[4]) for row in suspects)  # one label is doubted, or one is missing
    (tmp_path / "out").mkdir()
    write_check(found, tmp_path / "out")
    page = (tmp_path / "out/check.html").read_text()
    assert "as well?" in page or "no <b>" in page
