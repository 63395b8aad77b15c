"""Figures as a table, as JSON, as a page and as a picture."""

import html
import statistics

# Rows that every run has: they come with each start of a server. Behind the unit, the most that Ottla may need.
EVERY = [("start", "start to the first answer, empty", "s", 0.015), ("empty", "resident memory, idle", "MB", 10),
         ("loaded", "resident memory, after the loads", "MB", 40)]
NAMES = {"kafka": "Apache Kafka", "roofline": "roofline", "nats": "NATS JetStream", "rabbitmq": "RabbitMQ", "ottla": "Ottla"}


class Table:
    """Rows of Ottla and of `others`, the names of the peers beside it."""

    def __init__(self, others):
        self.others, self.kinds, self.lines = others, [*others, "ottla"], []

    @classmethod
    def of_rounds(cls, rows, found, others):
        """What one run says; `found` is what each showed, by name and round."""
        table = cls(others)
        for row in rows:
            line = cls.line(row)
            line["found"] = {kind: cls.values(found[kind], row.load, row.key) for kind in table.kinds}
            line["cpu"] = {kind: cls.median(cls.values(found[kind], row.load, row.cpu_key)) for kind in table.kinds}
            line["took"] = {kind: sum(cls.values(found[kind], row.load, "took")) for kind in table.kinds}
            table.lines.append(line)
        for line in cls.every():
            # The roofline is no broker: its start time is not comparable.
            kinds = [kind for kind in table.kinds if (kind, line["name"]) != ("roofline", "start")]
            line["found"] = {kind: cls.values(found[kind], line["name"], "value") for kind in kinds}
            table.lines.append(line)
        return table

    @staticmethod
    def line(row):
        return {"name": row.name, "title": row.title, "unit": row.unit, "lower": row.lower, "goals": row.goals, "most": row.most,
                "own": row.own, "cpu_goal": row.cpu}

    @staticmethod
    def every():
        return [{"name": key, "title": title, "unit": unit, "lower": True, "goals": {}, "most": most, "cpu": {}}
                for key, title, unit, most in EVERY]

    @classmethod
    def of_runs(cls, rows, runs, others):
        """What runs say, by the JSON of each: the medians of each are what a round is elsewhere, if there are several."""
        table = cls(others)
        for line in [*map(cls.line, rows), *cls.every()]:
            same = [row for run in runs for row in run["rows"] if (row["beside"], row["name"]) == (list(others), line["name"])]
            if same:
                # A title may say how much there was room for.
                line["title"] = same[-1]["title"]
                line["found"] = {kind: [cls.median(row["found"][kind]) for row in same if row["found"].get(kind)]
                                 for kind in table.kinds} if len(runs) > 1 else same[0]["found"]
                line["cpu"] = {kind: cls.median([row["cpu"][kind] for row in same if row["cpu"].get(kind)]) for kind in table.kinds}
                table.lines.append(line)
        return table

    @staticmethod
    def values(rounds, load, key):
        return [it[load][key] for it in rounds if load in it and key in it[load]]

    @staticmethod
    def median(values):
        return statistics.median(values) if values else None

    @classmethod
    def ratio(cls, line, kind):
        """Ottla's median over another's."""
        ours, other = cls.median(line["found"].get("ottla", [])), cls.median(line["found"].get(kind, []))
        return ours / other if ours and other else None

    @classmethod
    def ratios(cls, line, kind):
        """Ottla's figure over another's, of each round's pair."""
        pairs = zip(line["found"].get("ottla", []), line["found"].get(kind, []))
        return [ours / other for ours, other in pairs if other]

    def over_own(self, line):
        """Ottla's median over its own median in the row that the goal names: none if that row was not run."""
        other = next((it for it in self.lines if line.get("own") and it["name"] == line["own"][0]), None)
        ours, theirs = (self.median(it["found"].get("ottla", [])) if it else None for it in (line, other))
        return ours / theirs if ours and theirs else None

    def verdict(self, line):
        """Which goals hold and which do not: nothing where there is none, or nothing to compare with."""
        said = []

        def say(found, goal, what, lower):
            if goal is None or found is None:
                return
            good = found <= goal if lower else found >= goal
            said.append(("" if good else "not ") + f"{'≤' if lower else '≥'} {goal}{what}")

        lower, cpu = line["lower"], line["cpu"]
        for kind in self.others:
            say(self.ratio(line, kind), line["goals"].get(kind), " × " + NAMES[kind], lower)
        say(self.median(line["found"].get("ottla", [])), line.get("most"), " " + line["unit"], lower)
        if line.get("own"):
            name, goal = line["own"]
            ratio = self.over_own(line)
            # The ratio stands in no column of its own.
            say(ratio, goal, f" of {name} ({ratio:.2f})" if ratio else "", lower)
        if cpu.get("kafka") and cpu.get("ottla"):
            ratio = cpu["ottla"] / cpu["kafka"]
            say(ratio, line.get("cpu_goal"), f" of Kafka's CPU ({ratio:.2f})", True)
        return ", ".join(said)

    @staticmethod
    def number(value):
        if value is None:
            return "-"
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    @classmethod
    def spread(cls, values):
        if not values:
            return "-"
        middle = cls.number(statistics.median(values))
        return f"{middle} ({cls.number(min(values))}-{cls.number(max(values))})" if len(values) > 1 else middle

    @classmethod
    def over(cls, line, kind):
        """The ratio of medians, and in brackets the smallest and the largest ratio of a round."""
        ratio, all_ratios = cls.ratio(line, kind), cls.ratios(line, kind)
        if ratio is None:
            return "-"
        return f"{ratio:.2f} ({min(all_ratios):.2f}-{max(all_ratios):.2f})" if len(all_ratios) > 1 else f"{ratio:.2f}"

    def cells(self):
        for line in self.lines:
            cpu = line["cpu"]
            cores = " / ".join(self.number(cpu.get(kind)) for kind in self.kinds) if any(cpu.values()) else ""
            yield [f"{line['title']}, {line['unit']}", *(self.spread(line["found"].get(kind, [])) for kind in self.kinds),
                   *(self.over(line, kind) for kind in self.others), self.verdict(line), cores]

    def head(self):
        return ["row", *(NAMES[kind] for kind in self.kinds), *(f"over {NAMES[kind]}" for kind in self.others), "goal",
                "CPU: " + " / ".join(NAMES[kind] for kind in self.kinds)]

    def text(self):
        cells = [self.head(), *self.cells()]
        widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells)

    def json(self):
        return [{"beside": list(self.others), "name": line["name"], "title": line["title"], "unit": line["unit"], "found": line["found"],
                 "cpu": line["cpu"], "seconds": line.get("took", {}),
                 **{f"over_{kind}": self.ratio(line, kind) for kind in self.others},
                 "goal": self.verdict(line)} for line in self.lines]

    def markdown(self):
        head = self.head()
        rows = [head, ["---"] * len(head), *self.cells()]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def picture(table):
    """Bars of how many times Apache Kafka's figure ours is; of times and sizes, the other way round."""
    bars = [(line["title"], table.ratio(line, "kafka"), line["lower"]) for line in table.lines]
    bars = [(title, 1 / ratio if lower else ratio) for title, ratio, lower in bars if ratio]
    widest = max((ratio for _, ratio in bars), default=1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{30 + 24 * len(bars)}" font-family="sans-serif" font-size="13">',
           '<text x="10" y="18">How many times better than Apache Kafka, same machine, same run</text>']
    for at, (title, ratio) in enumerate(bars):
        y, width = 30 + 24 * at, max(1, 420 * ratio / widest)
        out.append(f'<text x="10" y="{y + 15}">{html.escape(title[:58])}</text>')
        out.append(f'<rect x="400" y="{y + 3}" width="{width:.0f}" height="16" fill="{"#2a7" if ratio >= 1 else "#c33"}"/>')
        out.append(f'<text x="{405 + width:.0f}" y="{y + 15}">{ratio:.1f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def write(folder, tables, machine):
    """Writes the page and the picture; the first table is the one beside Apache Kafka. `machine` has `runs` if they
    say what several runs do: their spreads are of those then, and not of rounds."""
    page = folder / "performance.md"
    text = page.read_text() if page.exists() else "# Performance\n\n<!-- table -->\n<!-- end -->\n"
    head, _, rest = text.partition("<!-- table -->")
    _, _, tail = rest.partition("<!-- end -->")
    times, of = (f", {machine['runs']} times,", "runs") if "runs" in machine else ("", "rounds")
    told = (f"`{machine['command']}`{times} on {machine['when']}: {machine['machine']}, {machine['cores']} cores, {machine['rounds']} rounds. "
            f"Medians, and in brackets the smallest and the largest; of ratios, those of the {of}. CPU: seconds a GB, or microseconds "
            "a record where the unit is records, messages or microseconds.\n\n")
    shown = [tables[0].markdown() + "\n\n![](performance.svg)\n"]
    shown += ["\nBeside NATS JetStream and RabbitMQ:\n\n" + table.markdown() + "\n" for table in tables[1:]]
    page.write_text(f"{head}<!-- table -->\n{told}{''.join(shown)}<!-- end -->{tail}")
    (folder / "performance.svg").write_text(picture(tables[0]))
