-- Services, OAuth clients and their codes. A token belongs to a user or to a service, and may have been issued to a client.

CREATE TABLE services (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT NOT NULL UNIQUE,
  configured INTEGER NOT NULL,                     -- 1: from carrel.toml, 0: made through the API
  admin      INTEGER NOT NULL,
  url        TEXT,                                 -- null: it has no pages
  display    INTEGER NOT NULL,
  info       TEXT NOT NULL,
  created    INTEGER NOT NULL
) STRICT;

CREATE TABLE oauth_clients (
  id           TEXT PRIMARY KEY,
  hash         BLOB NOT NULL,
  redirect_uri TEXT NOT NULL,
  description  TEXT NOT NULL,
  scopes       TEXT NOT NULL,                      -- what it may ask for, separated by blanks
  no_confirm   INTEGER NOT NULL,
  user_id      INTEGER REFERENCES users(id) ON DELETE CASCADE,
  server       TEXT,
  service_id   INTEGER REFERENCES services(id) ON DELETE CASCADE,
  CHECK ((service_id IS NULL) = (user_id IS NOT NULL AND server IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_clients_by_user ON oauth_clients(user_id);
CREATE INDEX oauth_clients_by_service ON oauth_clients(service_id);

CREATE TABLE tokens_2 (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id       INTEGER REFERENCES users(id) ON DELETE CASCADE,
  service_id    INTEGER REFERENCES services(id) ON DELETE CASCADE,
  hash          BLOB NOT NULL UNIQUE,
  prefix        TEXT NOT NULL,
  scopes        TEXT NOT NULL,                     -- as asked for, separated by blanks
  note          TEXT NOT NULL,
  created       INTEGER NOT NULL,
  expires       INTEGER,
  last_activity INTEGER,
  session_id    TEXT,
  client        TEXT NOT NULL,                     -- for people
  client_id     TEXT REFERENCES oauth_clients(id) ON DELETE CASCADE,
  CHECK ((user_id IS NULL) <> (service_id IS NULL))
) STRICT;
INSERT INTO tokens_2 (id, user_id, hash, prefix, scopes, note, created, expires, last_activity, session_id, client)
  SELECT id, user_id, hash, prefix, scopes, note, created, expires, last_activity, session_id, client FROM tokens;
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'tokens') WHERE name = 'tokens_2'
  AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'tokens');
DROP TABLE tokens;
ALTER TABLE tokens_2 RENAME TO tokens;
CREATE INDEX tokens_by_user ON tokens(user_id);
CREATE INDEX tokens_by_service ON tokens(service_id);
CREATE INDEX tokens_by_client ON tokens(client_id);
CREATE INDEX tokens_by_session ON tokens(session_id);

CREATE TABLE oauth_codes (
  hash          BLOB PRIMARY KEY,
  client_id     TEXT NOT NULL REFERENCES oauth_clients(id) ON DELETE CASCADE,
  user_id       INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  session_id    TEXT NOT NULL,
  scopes        TEXT NOT NULL,
  challenge     TEXT,
  named_address INTEGER NOT NULL,                  -- 1: the request named the address, so the exchange must
  expires       INTEGER NOT NULL,
  token_ends    INTEGER NOT NULL,
  token_id      INTEGER                            -- what it was exchanged for; a second try revokes that
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_codes_by_client ON oauth_codes(client_id);
