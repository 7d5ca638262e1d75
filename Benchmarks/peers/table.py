"""What was measured, as Markdown or JSON, beside the figures that are wanted."""
import json
import os
import platform
import subprocess

import subjects

FIGURES = (
    ("p50", "lone new connection, p50, µs", 0), ("p99", "lone new connection, p99, µs", 0),
    ("flows", "new flows/s, 64 at once", 0), ("bulk", "one allowed flow, Gbit/s", 2),
    ("memory", "resident memory, MiB", 0),
)
ORDER = ("no enforcement", "tracking alone", "C floor", "Sallyport", "haproxy", "squid", "OpenSnitch")


def environment(binaries):
    """Where it was measured, and with which versions."""
    sallyport = subprocess.run([binaries / "sallyport", "--version"], capture_output=True, text=True).stdout.strip()
    versions = {peer.name: peer.version() for peer in subjects.PEERS}
    return {"kernel": platform.release(), "processors": os.cpu_count(), "Sallyport": sallyport.split()[-1] if sallyport else "",
            **{name: version or "absent" for name, version in versions.items()}}


def wanted(result):
    """For each wanted figure: what is wanted, what was measured, whether that is met (None: not measured)."""
    lines = []
    rows = result.get("correctness", {}).get("rows", {}).get("Sallyport")
    if rows:
        right = sum(not text for text in rows.values())
        lines.append(("every correctness row right", f"{right} of {len(rows)}", right == len(rows)))
    medians = result.get("speed", {}).get("medians", {})

    def ratio(figure, other, text, met):
        ours, theirs = (medians.get(name, {}).get(figure) for name in ("Sallyport", other))
        if ours and theirs:
            lines.append((text, f"{ours / theirs:.3f}", met(ours / theirs)))
    ratio("flows", "haproxy", "new flows/s at least 1.4 times haproxy's", lambda r: r >= 1.4)
    ratio("flows", "squid", "new flows/s at least 5 times squid's", lambda r: r >= 5)
    ratio("p50", "haproxy", "lone new connection, p50, at most 0.75 of haproxy's", lambda r: r <= 0.75)
    ratio("bulk", "no enforcement", "bulk within 2 % of no enforcement", lambda r: r >= 0.98)
    return lines


def as_json(result):
    """All of it."""
    return json.dumps({**result, "wanted": [dict(zip(("wanted", "measured", "met"), line)) for line in wanted(result)]}, indent=1)


def as_markdown(result):
    """Tables, one after another."""
    parts = ["; ".join(f"{name} {value}" for name, value in result["environment"].items() if value)]
    if "correctness" in result:
        parts.append(_correctness(result["correctness"]))
    if "speed" in result:
        parts.append(_speed(result["speed"]))
    lines = wanted(result)
    if lines:
        parts.append(_rows(["wanted", "measured", ""], [[what, seen, "met" if met else "missed"] for what, seen, met in lines]))
    return "\n\n".join(parts)


def _rows(head, body):
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def _correctness(found):
    rows = found["rows"]
    names = [name for name in ORDER if name in rows]
    titles = list(dict.fromkeys(title for name in names for title in rows[name]))
    cell = lambda text: "–" if text is None else "right" if text == "" else "wrong: " + text.replace("|", "\\|")
    body = [[title, *(cell(rows[name].get(title)) for name in names)] for title in titles]
    count = lambda texts: f"**{sum(not text for text in texts)} of {len(texts)}**"
    body.append(["**rows right**", *(count(rows[name].values()) if rows[name] else "did not run, see below" for name in names)])
    return "\n\n".join([_rows(["probe", *names], body), *(f"{name}: {text}" for name, text in found["notes"].items())])


def _speed(found):
    names = [name for name in ORDER if name in found["medians"]]
    body = []
    for figure, title, places in FIGURES:
        values = [found["medians"][name].get(figure) for name in names]
        if any(values):
            body.append([title, *("–" if value is None else f"{value:,.{places}f}" for value in values)])
    return "\n\n".join([_rows([f"medians of {found['rounds']} rounds", *names], body), *found["notes"]])
