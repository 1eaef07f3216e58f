-- Shares: access to one server, given to a user or to the members of a group; and codes that may be exchanged for such access.
-- Scopes are kept without a filter: what is shared is always the server of the row, whatever it is called by now.

CREATE TABLE shares (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  owner_id INTEGER NOT NULL,
  server   TEXT NOT NULL,
  user_id  INTEGER REFERENCES users(id) ON DELETE CASCADE,
  group_id INTEGER REFERENCES groups(id) ON DELETE CASCADE,
  scopes   TEXT NOT NULL,                          -- names separated by blanks
  created  INTEGER NOT NULL,
  UNIQUE (owner_id, server, user_id),
  UNIQUE (owner_id, server, group_id),
  CHECK ((user_id IS NULL) <> (group_id IS NULL)),
  FOREIGN KEY (owner_id, server) REFERENCES servers(user_id, name) ON UPDATE CASCADE ON DELETE CASCADE
) STRICT;
CREATE INDEX shares_by_user ON shares(user_id);
CREATE INDEX shares_by_group ON shares(group_id);

CREATE TABLE share_codes (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  owner_id       INTEGER NOT NULL,
  server         TEXT NOT NULL,
  hash           BLOB NOT NULL UNIQUE,
  scopes         TEXT NOT NULL,
  created        INTEGER NOT NULL,
  expires        INTEGER NOT NULL,
  exchanges      INTEGER NOT NULL DEFAULT 0,
  last_exchanged INTEGER,
  FOREIGN KEY (owner_id, server) REFERENCES servers(user_id, name) ON UPDATE CASCADE ON DELETE CASCADE
) STRICT;
CREATE INDEX share_codes_by_server ON share_codes(owner_id, server);
