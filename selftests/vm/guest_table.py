# SPDX-License-Identifier: BSD-2-Clause
"""The peer table: what the two implementations have exchanged in this run, as both have counted it."""

from dataclasses import dataclass, field

COLUMNS = ("mode", "IP", "suites", "ipsecbpf sent", "XFRM took", "XFRM sent", "ipsecbpf took",
           "refused")


@dataclass
class Row:
    suites: list = field(default_factory=list)
    counts: list = field(default_factory=lambda: [0, 0, 0, 0])
    refused: int = 0


rows = {}


def add(link, at_a, at_b, errors):
    """The counts of one configuration: {SPI: (packets, refused)} of both sides."""
    config = link.config
    refused = sum(sum(after.values()) - sum(before.values())
                  for before, after in zip(link.errors_before, errors))
    for family in config.families:
        row = rows.setdefault((config.mode, family), Row())
        if config.suite not in row.suites:
            row.suites.append(config.suite)
        row.refused += refused
        for sa in link.outermost():
            if sa.family != config.outer_family(family):
                continue
            first = 0 if sa.src == link.a.host.address(sa.family) else 2
            # Sender's count, then receiver's.
            for place, counted in zip((first, first + 1), (at_a, at_b) if first == 0 else (at_b, at_a)):
                row.counts[place] += counted[sa.spi][0]
                row.refused += counted[sa.spi][1]


def text(width=44):
    """The table, with suites wrapped to `width`; empty if nothing was counted."""
    lines = [COLUMNS]
    for (mode, family), row in rows.items():
        names = [""]
        for suite in row.suites:
            if names[-1] and len(names[-1]) + len(suite) >= width:
                names.append("")
            names[-1] += f" {suite}" if names[-1] else suite
        lines.append((mode, str(family), names[0], *map(str, row.counts), str(row.refused)))
        lines += [("", "", name, "", "", "", "", "") for name in names[1:]]
    if len(lines) == 1:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "".join("  ".join(cell.ljust(size) if number < 3 else cell.rjust(size)
                             for number, (cell, size) in enumerate(zip(line, widths))).rstrip() + "\n"
                   for line in lines)
