"""`make bench`: measure, print every ratio beside its target, and fail when one is missed."""

import sys

from bench import api, drain, growth, latency, measuring, memory, pages, quoting, tails, webhooks
from bench.harness import Report, servers

PARTS = {
    "webhooks": webhooks.run,
    "drain": drain.run,
    "api": api.run,
    "pages": pages.run,
    "growth": growth.run,
    "memory": memory.run,
    "tails": tails.run,
    "latency": latency.run,
    "measuring": measuring.run,
    "quoting": quoting.run,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all."""
    report = Report()
    with servers() as bench:
        for name, run in PARTS.items():
            if not names or name in names:
                run(bench, report)
    print(f"\n{len(report.failed)} missed" if report.failed else "\nall targets hold")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
