#!/usr/bin/env python3
"""The whole program against its peers on one made collection: ripgrep on the
unpacked text, ugrep -z on the zips, SQLite FTS5 for ingest. Answers are
compared as well as CPU time (user + system, as the kernel counts it).

Use: benches/peers.py SHAPE MEGABYTES [SEED] [--fts]
Needs rg and ugrep on the PATH; AFTERACTION names the program.
"""
import gzip, io, json, os, shutil, sqlite3, subprocess, sys, tempfile, time, zipfile

PROGRAM = os.environ.get("AFTERACTION", "target/release/afteraction")
RUNS = 3

# Pattern, and whether it is selective (at most 0.1 % of lines), common, or
# neither narrowed by words nor by 4-grams.
PATTERNS = [
    ("selective", r"(?i)mimikatz"),
    ("selective", r"WinTelBroker"),
    ("selective", r"\d+\.\d+\.\d+\.\d+:4444\b"),
    ("selective", r"(?i)onedrivesync[a-z]+"),
    ("common", r"Spooler"),
    ("common", r"KB50\d+"),
    ("common", r"HKLM.*Run.*\.exe"),
    ("common", r"svchost\.exe"),
    ("common", r"TCP.*ESTABLISHED"),
    ("unselective", r"\d\d:\d\d:\d\d"),
    ("unselective", r"[aeiou]{4}"),
]


def lines(sink):
    return sum(chunk.count(b"\n") for chunk in iter(lambda: sink.read(1 << 20), b""))


def total(sink):
    """Of counts, a line each."""
    return sum(int(line.replace(b",", b"")) for line in sink)


def run(command, env=None, answer=lines):
    """CPU seconds, wall seconds, peak MiB, what the output says."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        sink.seek(0)
        said = answer(sink)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        sys.exit(f"{command} ended with {code}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, said


def median(command, env=None, answer=lines):
    runs = sorted((run(command, env, answer) for _ in range(RUNS)), key=lambda run: run[0])
    return runs[len(runs) // 2]


def text_of(data):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def unpack(results, texts):
    """Every text of every result as a file of its own."""
    count = 0

    def keep(data):
        nonlocal count
        with open(os.path.join(texts, f"{count:07}.txt"), "wb") as out:
            out.write(data)
        count += 1

    def take(data):
        if data[:2] == b"\x1f\x8b":
            take(gzip.decompress(data))
        elif data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir():
                        take(archive.read(entry))
        elif data.lstrip()[:1] == b"{" and b'"script_output"' in data:
            transcript = json.loads(data)
            for part in ("script_output", "script_errors"):
                if transcript.get(part):
                    keep(transcript[part].encode())
        else:
            keep(text_of(data))

    for folder, _, files in sorted(os.walk(results)):
        if folder != results:
            for name in sorted(files):
                with open(os.path.join(folder, name), "rb") as source:
                    take(source.read())
    return count


def fts(texts, work):
    """CPU seconds and bytes of an FTS5 index (unicode61) of the same text."""
    path = os.path.join(work, "fts.db")
    began = os.times()
    base = sqlite3.connect(path)
    base.execute("pragma journal_mode=off")
    base.execute("create virtual table texts using fts5(body, content='')")
    for name in sorted(os.listdir(texts)):
        with open(os.path.join(texts, name), encoding="utf-8", errors="replace") as source:
            base.execute("insert into texts(body) values (?)", (source.read(),))
    base.commit()
    base.close()
    ended = os.times()
    return ended.user + ended.system - began.user - began.system, os.path.getsize(path)


def main():
    options = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    shape, megabytes, seed = options[0], options[1], (options + ["1"])[2]
    work = tempfile.mkdtemp()
    results, texts, case = (os.path.join(work, name) for name in ("in", "texts", "case"))
    os.mkdir(texts)
    env = {**os.environ, "AFTERACTION_ARCHIVE": case}
    subprocess.run(
        [PROGRAM, "bench", "generate", results, "--shape", shape, "--megabytes", megabytes]
        + ["--devices", "500", "--seed", seed],
        check=True,
    )
    count = unpack(results, texts)
    size = sum(entry.stat().st_size for entry in os.scandir(texts))
    zipped = sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(results)
        for name in names
        if folder != results
    )
    print(f"{count:,} texts, {size / 1e6:.1f} MB unpacked, {zipped / 1e6:.1f} MB as results")
    ingests = []
    for _ in range(RUNS):
        shutil.rmtree(case, ignore_errors=True)
        ingests.append(run([PROGRAM, "import", results], env=env))
    cpu, wall, peak, _ = sorted(ingests)[RUNS // 2]
    index = sum(entry.stat().st_size for entry in os.scandir(os.path.join(case, "index")))
    print(
        f"import and catch-up: {cpu:.2f} CPU s, {wall:.2f} s wall, peak {peak:.0f} MiB, "
        f"{size / 1e6 / cpu:.1f} MB of text per CPU s, index {index / size:.3f} of the text"
    )
    if "--fts" in sys.argv:
        cpu, bytes_ = fts(texts, work)
        print(
            f"FTS5 unicode61: {cpu:.2f} CPU s, {size / 1e6 / cpu:.1f} MB per CPU s, "
            f"{bytes_ / size:.3f} of the text (postings only)"
        )
    print("| pattern | kind | hits | ours CPU s (wall, MiB) | rg CPU s (wall) | ugrep -z CPU s |")
    for kind, pattern in PATTERNS:
        ours = median([PROGRAM, "search", "--regex", pattern, "--jsonl"], env=env)
        rg = median(["rg", "--no-config", "-uu", "--no-filename", "-e", pattern, texts])
        ug = run(["ugrep", "-z", "-r", "-h", "-P", pattern, results])
        same = "" if ours[3] == rg[3] else f" (rg finds {rg[3]:,})"
        print(
            f"| `{pattern}` | {kind} | {ours[3]:,}{same} | {ours[0]:.3f} ({ours[1]:.2f}, {ours[2]:.0f}) "
            f"| {rg[0]:.3f} ({rg[1]:.2f}), {rg[0] / max(ours[0], 0.001):.0f}x "
            f"| {ug[0]:.2f}, {ug[0] / max(ours[0], 0.001):.0f}x |",
            flush=True,
        )
    print("| pattern, counted | hits | ours CPU s (wall, MiB) | rg -c CPU s (wall) |")
    for kind, pattern in PATTERNS:
        if kind != "selective":
            ours = median([PROGRAM, "search", "--regex", pattern, "--count"], env, total)
            rg = ["rg", "--no-config", "-uu", "--no-filename", "-c", "-e", pattern, texts]
            rg = median(rg, answer=total)
            same = "" if ours[3] == rg[3] else f" (rg finds {rg[3]:,})"
            print(
                f"| `{pattern}` | {ours[3]:,}{same} | {ours[0]:.3f} ({ours[1]:.2f}, {ours[2]:.0f}) "
                f"| {rg[0]:.3f} ({rg[1]:.2f}), {rg[0] / max(ours[0], 0.001):.1f}x |",
                flush=True,
            )
    shutil.rmtree(work)


main()
