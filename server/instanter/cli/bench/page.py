"""The report as one HTML file that needs nothing else: no script, no font, no other host."""

import html
import math
from typing import Final

from instanter.cli.bench.histogram import Bar
from instanter.cli.bench.report import Report
from instanter.cli.bench.view import describe, list_figures, show_time

_WIDTH: Final = 960
_HEIGHT: Final = 320
_TOP: Final = 34
_FOOT: Final = 36
_EDGE: Final = 16
_FLOOR: Final = _HEIGHT - _FOOT

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2733; --dim: #66727f; --line: #d5dbe1;
  --paper: #fff; --client: #2f6fde; --server: #d9822b; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --dim: #93a0ad; --line: #36424e;
  --paper: #141b22; --client: #6ea0ff; --server: #f0a454; --bad: #ff7b6b; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } p.what, .remarks { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: 2.5rem; margin: 1.2rem 0; }
.tiles b { display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.2; }
.tiles span, th { color: var(--dim); font-weight: 400; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
svg { width: 100%; height: auto; margin: 1rem 0; font: 12px system-ui, sans-serif; }
.client { fill: var(--client); } .server { fill: var(--server); } .bars { opacity: .8; }
.grid { stroke: var(--line); } .mark { stroke: var(--dim); stroke-dasharray: 3 3; }
text { fill: var(--dim); } .bad { color: var(--bad); }
"""


def make_page(report: Report) -> str:
    """Return the whole page as HTML."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Instanter, {html.escape(report.server)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            "<h1>How fast this server decides</h1>",
            f'<p class="what">{html.escape(describe(report))}</p>',
            _make_tiles(report),
            _make_picture(report),
            _make_table(report),
            _make_errors(report),
            '<ul class="remarks">',
            *(f"<li>{html.escape(remark)}</li>" for remark in report.remarks),
            "</ul></body></html>\n",
        )
    )


def _make_tiles(report: Report) -> str:
    tiles = (
        (f"{report.decisions_per_s:,.0f}", "decisions a second"),
        (show_time(report.latency.p50_us), "latency, p50"),
        (show_time(report.latency.p99_us), "latency, p99"),
        (show_time(report.server_took.p50_us), "inside the server, p50"),
        (f"{sum(report.errors.values()):,}", f"failed calls beside {report.decisions:,} decisions"),
    )
    cells = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)
    return f'<div class="tiles">{cells}</div>'


def _make_table(report: Report) -> str:
    heads = "".join(f"<th>{name}</th>" for name in ("p50", "p90", "p99", "p99.9", "max", "mean"))
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        + "".join(f"<td>{show_time(figure)}</td>" for figure in figures)
        + "</tr>"
        for name, figures in list_figures(report)
    )
    return f"<table><tr><th></th>{heads}</tr>{rows}</table>"


def _make_errors(report: Report) -> str:
    lines = "".join(
        f"<li>failed, {html.escape(reason)}: {count:,}</li>"
        for reason, count in report.errors.items()
    )
    return f'<ul class="bad">{lines}</ul>' if lines else ""


def _make_picture(report: Report) -> str:
    """Return both histograms on one logarithmic axis, with the client's percentiles."""
    bars = (*report.latency_histogram, *report.server_histogram)
    if not bars:
        return ""
    axis = _Axis(min(bar.start_ns for bar in bars), max(bar.end_ns for bar in bars))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Histograms of times">',
        *_draw_axis(axis),
        *_draw_bars(report.server_histogram, axis, "server"),
        *_draw_bars(report.latency_histogram, axis, "client"),
        *_draw_marks(report, axis),
        "</svg>",
    ]
    return "\n".join(parts)


class _Axis:
    """Places times on the picture, every decade equally wide."""

    def __init__(self, low_ns: float, high_ns: float) -> None:
        self.low = math.log10(low_ns)
        self.high = math.log10(high_ns)

    def place(self, time_ns: float) -> float:
        """Return the horizontal place of a time."""
        share = (math.log10(max(time_ns, 1.0)) - self.low) / (self.high - self.low)
        return round(_EDGE + min(max(share, 0.0), 1.0) * (_WIDTH - 2 * _EDGE), 1)


def _draw_axis(axis: _Axis) -> list[str]:
    parts = []
    for decade in range(math.floor(axis.low), math.ceil(axis.high) + 1):
        for step in (1, 2, 5):
            time_ns = step * 10.0**decade
            if axis.low <= math.log10(time_ns) <= axis.high:
                x = axis.place(time_ns)
                parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_FLOOR}"/>')
                parts.append(
                    f'<text x="{x}" y="{_FLOOR + 18}" text-anchor="middle">'
                    f"{show_time(time_ns / 1e3)}</text>"
                )
    return parts


def _draw_bars(bars: tuple[Bar, ...], axis: _Axis, name: str) -> list[str]:
    """Return a histogram; its highest bar takes the whole height."""
    top = max((bar.count for bar in bars), default=1)
    title = "latency" if name == "client" else "inside the server"
    parts = [f'<g class="{name} bars">']
    for bar in bars:
        if bar.count:
            left, right = axis.place(bar.start_ns), axis.place(bar.end_ns)
            height = max(round(bar.count / top * (_FLOOR - _TOP), 1), 1.0)
            span = f"{show_time(bar.start_ns / 1e3)} to {show_time(bar.end_ns / 1e3)}"
            width = max(round(right - left - 1, 1), 1.0)
            parts.append(
                f'<rect x="{left}" y="{_FLOOR - height:.1f}" width="{width}" height="{height}">'
                f"<title>{title}, {span}: {bar.count:,}</title></rect>"
            )
    return [*parts, "</g>"]


def _draw_marks(report: Report, axis: _Axis) -> list[str]:
    """Return the client's percentiles as lines, and what the colours mean."""
    parts = []
    figures = report.latency
    marks = (("p50", figures.p50_us), ("p99", figures.p99_us), ("p99.9", figures.p99_9_us))
    for at, (name, time_us) in enumerate(marks):
        x, y = axis.place(time_us * 1e3), _TOP - 4 + 13 * at
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{y}" y2="{_FLOOR}"/>')
        anchor, gap = ("end", -4) if x > _WIDTH / 2 else ("start", 4)
        parts.append(f'<text x="{x + gap}" y="{y + 10}" text-anchor="{anchor}">{name}</text>')
    for x, name, title in ((_EDGE, "client", "latency"), (110, "server", "inside the server")):
        parts.append(f'<rect class="{name}" x="{x}" y="6" width="12" height="12"/>')
        parts.append(f'<text x="{x + 18}" y="16">{title}</text>')
    return parts
