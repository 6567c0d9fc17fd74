#!/usr/bin/env python3
"""stack, diff, twins and baselines on one script's output of a made fleet,
whose planted lines are known: time (the first run after the files left the
page cache, where that can be asked for, and runs after it), peak memory, and
how much noise stands before the last planted line.

Use: benches/compare.py DEVICES [SEED]
AFTERACTION names the program.
"""
import json, os, shutil, subprocess, sys, tempfile, time

PROGRAM = os.environ.get("AFTERACTION", "target/release/afteraction")
DEVICES = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
SEED = sys.argv[2] if len(sys.argv) > 2 else "1"
SCRIPT = ["--script", "Get-Triage.ps1"]


def run(name, args, sink, expected=(0,)):
    began = time.monotonic()
    with open(sink, "wb") as out:
        child = subprocess.Popen([PROGRAM, *args], stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    if code not in expected:
        sys.exit(f"{args} ended with {code}")
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{name:<28} wall {wall:6.2f} s  cpu {cpu:6.2f} s  peak {usage.ru_maxrss / 1024:5.0f} MiB"
          f"  $ afteraction {' '.join(args)}", flush=True)


def evict(folder):
    """Asks the kernel to forget the files of a folder."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(path, name), os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def noise(rows, needles):
    """Where planted lines stand among the rows, and what stands before them."""
    ranks = {}
    for rank, row in enumerate(rows):
        for needle in needles:
            if needle["text"] in row["value"] or needle["text"] in row["text"]:
                ranks.setdefault(needle["text"], []).append((rank, row["devices"]))
    for needle in needles:
        found = ranks.get(needle["text"], [])
        print(f"  {needle['kind']:<10} on {needle['count']:>3} devices: "
              + (", ".join(f"row {rank + 1} with {devices}" for rank, devices in found) or "NOT FOUND"))
    planted = sorted({rank for found in ranks.values() for rank, _ in found})
    before = planted[-1] + 1 - len(planted)
    print(f"  {len(rows)} rows; down to the last planted line {planted[-1] + 1} rows, {before} of them noise"
          f" ({100 * before / (planted[-1] + 1):.1f} %), which is {100 * before / (len(rows) - len(planted)):.2f} %"
          f" of all noise")


def main():
    work = tempfile.mkdtemp()
    os.environ["AFTERACTION_ARCHIVE"] = f"{work}/case"
    rows = f"{work}/rows"
    try:
        print(subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.strip())
        # Megabytes enough for one run of the script on each device.
        run("generate", ["bench", "generate", f"{work}/in", "--shape", "script", "--seed", SEED,
                         "--devices", str(DEVICES), "--megabytes", str(DEVICES // 5)], rows)
        run("import and index", ["import", f"{work}/in"], rows)
        with open(f"{work}/in/answers.json") as file:
            answers = json.load(file)
        print(f"  {answers['text_bytes'] / 1e6:.0f} MB of text of {answers['devices']} devices,"
              f" {100 * answers['distinct_line_share']:.1f} % of it distinct lines")
        with open(f"{work}/in/machines.json") as file:
            machines = [machine["computerDnsName"] for machine in json.load(file)["value"]]
        evict(f"{work}/case")
        run("stack, the first time", ["stack", *SCRIPT, "--limit", "100"], rows)
        for _ in range(3):
            run("stack again", ["stack", *SCRIPT, "--limit", "100"], rows)
        run("stack, every row as JSON", ["stack", *SCRIPT, "--jsonl"], rows)
        with open(rows) as file:
            noise([json.loads(line) for line in file], [n for n in answers["needles"] if n["count"]])
        run("stack of a word", ["stack", "svchost", "--limit", "100"], rows)
        for _ in range(3):
            run("diff of two devices", ["diff", machines[0], machines[5], *SCRIPT], rows)
        run("diff, one and the rest", ["diff", machines[0], "--rest", *SCRIPT], rows)
        for _ in range(2):
            run("twins", ["twins", *SCRIPT], rows)
        run("baseline learn", ["baseline", "learn", "golden", *SCRIPT, "--min-devices", "20"], rows)
        run("stack, baseline excluded", ["stack", *SCRIPT, "--exclude-baseline", "golden", "--limit", "100"], rows)
    finally:
        shutil.rmtree(work)


main()
