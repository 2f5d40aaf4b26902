#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Draws results of the benchmark as bars relative to the reference.

    plot.py RESULTS.json >plot.svg

The input is written by bench.py --json. The image supports light and dark pages.
"""

import html
import json
import sys

# The measures and their labels.
PANELS = [
    ("Throughput, conmon 2 = 1 (more is better)", [
        ("lines100", "100-byte lines"),
        ("lines16", "16-byte lines"),
        ("lines100k", "100 kB lines"),
        ("attach1", "with an attach client"),
        ("journald100", "to journald"),
    ]),
    ("Cost, conmon 2 = 1 (less is better)", [
        ("start", "time to start"),
        ("start.cpu", "processor time, start and end"),
        ("lines100.cpu", "processor time of a log"),
        ("memory200", "private memory"),
        ("echo", "request and answer, attach"),
    ]),
]

WIDTH, LEFT, RIGHT, ROW, BAR = 720, 220, 640, 26, 16

STYLE = """
text { font: 13px sans-serif; fill: #1f2328 }
.title { font-weight: bold }
.own { fill: #0969da }
.other { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .own { fill: #4493f8 }
  .other { stroke: #9198a1 }
}
"""


def ratio(results, measure):
    """This monitor's median divided by the reference's; None if one of them is missing."""
    found = results["measures"].get(measure, {"results": {}})["results"]
    if "this" not in found or not found.get("reference", {}).get("median"):
        return None
    return found["this"]["median"] / found["reference"]["median"]


def text(x, y, what, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{html.escape(what)}</text>'


def panel(results, title, rows, top):
    """The SVG lines of one panel, and the position of the next one."""
    values = [(label, ratio(results, measure)) for measure, label in rows]
    values = [(label, value) for label, value in values if value is not None]
    if not values:
        return [], top
    scale = (RIGHT - LEFT) / max(1.0, *(value for _, value in values))
    lines = [text(LEFT, top + 14, title, "title")]
    at = top + ROW
    for label, value in values:
        lines.append(text(LEFT - 10, at + BAR - 3, label, anchor="end"))
        lines.append(f'<rect class="own" x="{LEFT}" y="{at}" width="{value * scale:.1f}" height="{BAR}" rx="2"/>')
        lines.append(text(LEFT + value * scale + 8, at + BAR - 3, f"{value:.2f}"))
        at += ROW
    one = LEFT + scale
    lines.append(f'<line class="other" x1="{one:.1f}" y1="{top + ROW - 4}" x2="{one:.1f}" y2="{at - 6}"/>')
    return lines, at + 14


def draw(results):
    lines, at = [], 10
    for title, rows in PANELS:
        more, at = panel(results, title, rows, at)
        lines += more
    about = f"{results['machine']['cpu']}, {results['date'][:10]}; dashed: {results['monitors']['reference']['version']}"
    lines.append(text(LEFT, at + 6, about[:90]))
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at + 20}" '
                      f'viewBox="0 0 {WIDTH} {at + 20}" role="img">', "<title>conmon compared with conmon 2</title>",
                      f"<style>{STYLE}</style>", *lines, "</svg>", ""])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(draw(json.load(file)))
