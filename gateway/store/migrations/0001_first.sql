-- The first shape of the store. Times are microseconds since 1970, UTC. Secrets are kept as SHA-256 digests only.

CREATE TABLE users (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT NOT NULL UNIQUE,
  folder        TEXT NOT NULL UNIQUE,              -- the sandbox's name of the user; never changes, so a renamed user keeps the home
  admin         INTEGER NOT NULL DEFAULT 0,
  created       INTEGER NOT NULL,
  last_activity INTEGER
) STRICT;

CREATE TABLE passwords (
  user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  hash    TEXT NOT NULL,
  changed INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT NOT NULL UNIQUE,
  properties TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE members (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members(user_id);

CREATE TABLE tokens (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id       INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  hash          BLOB NOT NULL UNIQUE,
  prefix        TEXT NOT NULL,
  scopes        TEXT NOT NULL,                     -- as asked for, separated by blanks
  note          TEXT NOT NULL,
  created       INTEGER NOT NULL,
  expires       INTEGER,
  last_activity INTEGER,
  session_id    TEXT,
  client        TEXT NOT NULL
) STRICT;
CREATE INDEX tokens_by_user ON tokens(user_id);

CREATE TABLE logins (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id    INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  hash       BLOB NOT NULL UNIQUE,
  session_id TEXT NOT NULL,
  created    INTEGER NOT NULL,
  expires    INTEGER NOT NULL
) STRICT;
CREATE INDEX logins_by_user ON logins(user_id);

CREATE TABLE servers (
  user_id       INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  display_name  TEXT,
  options       TEXT NOT NULL DEFAULT '{}',
  created       INTEGER NOT NULL,
  started       INTEGER,                           -- null: stopped
  last_activity INTEGER,
  PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE kernels (
  id            TEXT PRIMARY KEY,
  user          TEXT NOT NULL REFERENCES users(name) ON UPDATE CASCADE ON DELETE CASCADE,
  server        TEXT NOT NULL,
  name          TEXT NOT NULL,                     -- the kernelspec
  jail_id       TEXT NOT NULL,
  cwd           TEXT NOT NULL,
  created       INTEGER NOT NULL,
  last_activity INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kernels_by_user ON kernels(user, server);

CREATE TABLE sessions (
  id        TEXT PRIMARY KEY,
  user      TEXT NOT NULL REFERENCES users(name) ON UPDATE CASCADE ON DELETE CASCADE,
  server    TEXT NOT NULL,
  path      TEXT NOT NULL,
  name      TEXT NOT NULL,
  type      TEXT NOT NULL,
  kernel_id TEXT NOT NULL,
  created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions(user, server);

CREATE TABLE kv (
  user    TEXT NOT NULL REFERENCES users(name) ON UPDATE CASCADE ON DELETE CASCADE,
  kind    TEXT NOT NULL,
  key     TEXT NOT NULL,
  value   TEXT NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (user, kind, key)
) STRICT, WITHOUT ROWID;
