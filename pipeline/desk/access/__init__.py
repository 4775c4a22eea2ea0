"""Who may use the desk: who sends a request, and whether they may.

- `people`: roles, and who has which, by settings.
- `sessions`: what a cookie stands for, and when that ends.
- `oidc`: signing in at an OpenID provider (extra `desk`).
- `ways`: the ways in; each says who sends a request.
- `guard`: `Access`, which holds every route to the role that it needs.

Nothing of an event reaches anybody without a role: a route without one in the table is refused.
Imports `config` and, of `observe`, what a loopback address is.
"""

from pipeline.desk.access.guard import PUBLIC, Access, open_access, person, require_way_in
from pipeline.desk.access.people import Person, Role, RoleRules

__all__ = [
    "PUBLIC",
    "Access",
    "Person",
    "Role",
    "RoleRules",
    "open_access",
    "person",
    "require_way_in",
]
