"""Examples of every command, which its `--help` ends with; a test parses each of them."""

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[str]] = {
    "demo": ("demo", "demo --short", "demo --keep"),
    "run": ("run", "run tickets escalations", "run --workers 2"),
    "desk": ("desk",),
    "local": ("local", "local --env-file local.env", "local -- pipeline run tickets"),
    "publish": ("publish tickets samples/tickets.jsonl", "publish images scans/ --key-field id"),
    "backfill": ("backfill tickets", "backfill tickets archive.jsonl"),
    "tail": ("tail tickets --follow", "tail dead-letters --limit 10 --pretty"),
    "lookup": ("lookup T-1042", "lookup customer-42 --since 7d --json"),
    "lag": ("lag", "lag tickets --watch", "lag --json"),
    "init": ("init", "init --yes --topic support.tickets --kind tickets"),
    "ask": ("ask tickets 'Where is my parcel?' --simulated", "ask invoices --file invoice.pdf"),
    "map": ("map tickets --sample support.tickets", "map tickets --sample export.jsonl --propose"),
    "forget": ("forget customer-42 --dry-run", "forget customer-42 --as ada"),
    "cost": ("cost", "cost --events 500000 --escalated 0.05", "cost --image 2480x3508"),
    "evaluate": ("evaluate tickets labelled.jsonl", "evaluate tickets labelled.jsonl --json"),
    "doctor": ("doctor", "doctor --json"),
    "version": ("version",),
    "topics create": ("topics create", "topics create tickets"),
    "topics list": ("topics list", "topics list --json"),
    "topics describe": ("topics describe",),
    "schemas": ("schemas", "schemas --check", "schemas --stage tickets"),
    "schemas register": ("schemas register --dry-run", "schemas register"),
    "offsets show": ("offsets show tickets", "offsets show --json"),
    "offsets reset": ("offsets reset tickets --to 2h", "offsets reset tickets --to earliest"),
    "offsets import": ("offsets import tickets --from old-group",),
    "dead-letters list": ("dead-letters list --open", "dead-letters list --reason invalid_json"),
    "dead-letters show": ("dead-letters show 3:1841",),
    "dead-letters replay": (
        "dead-letters replay --reason invalid_event --dry-run",
        "dead-letters replay 3:1841 --as ada",
    ),
    "dead-letters export": ("dead-letters export --since 7d", "dead-letters export --files bad/"),
    "review sample": ("review sample tickets --as ada",),
    "review list": ("review list --open", "review list --stage invoices --doubt arithmetic"),
    "review show": ("review show 0:17", "review show --file invoice.pdf 0:17"),
    "review resolve": (
        "review resolve 0:17 --accept sonnet",
        "review resolve 0:17 --accept haiku --set priority=high",
    ),
    "audit list": ("audit list --since 7d",),
    "trust plan": ("trust plan --target 0.95",),
    "trust certify": (
        "trust certify --stage tickets --out certificate.json",
        "trust certify verdicts.jsonl --target 0.95",
    ),
    "trust watch": ("trust watch --stage tickets", "trust watch verdicts.jsonl"),
    "trust status": ("trust status", "trust status --json"),
    "trust acknowledge": ("trust acknowledge tickets --as ada",),
    "trust export": ("trust export labels.jsonl",),
    "trust fit": (
        "trust fit tickets --out score.json",
        "trust fit tickets evaluation-tickets.json --out score.json",
    ),
    "trust judge": ("trust judge pairs.jsonl --simulated",),
    "trust compare": (
        "trust compare tickets candidate.toml --events 400 --changed changed.jsonl",
        "trust compare tickets candidate.toml --recorded events.jsonl --output compared.json",
    ),
    "trust promote": (
        "trust promote tickets candidate.toml --comparison compared.json --verdicts changed.jsonl",
        "trust promote tickets candidate.toml --unproven 'agreed with support' --as ada",
    ),
    "trust rollback": ("trust rollback tickets --as ada",),
    "notify test": ("notify test", "notify test slack"),
    "access token": ("access token Ada --role reviewer",),
}


def epilog(command: str) -> str:
    """What `--help` of a command ends with."""
    lines = (f"pipeline {example}" for example in EXAMPLES.get(command, ()))
    return "\n\n".join(["Examples:", *lines])
