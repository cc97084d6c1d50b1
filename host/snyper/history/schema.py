"""The tables of a journal: what happened, and what it adds up to, which the file counts by itself.

The order of everything is (`log`, `seq`). The time of day is in no key: people and time servers set it.
Triggers keep `games`, `seats` and `shots` as `events` grow and shrink, so history is counted from a few small
numbers a game and never from the text of every event.
"""

import sqlite3
from itertools import groupby

from snyper.shared.link_core import CloseReason
from snyper.shared.names import normalised, visible

VERSION = 2
# A hub that is killed while its disk fails has shown events that are in no journal. So after any end that was
# no orderly one the count goes on at the next multiple of this, and no number ever means two events.
LEAP = 1_000_000

_LOGS = """
CREATE TABLE {name} (
    id INTEGER PRIMARY KEY,         -- 1 is the log of whoever writes this file. Later ones are younger
    log_id TEXT NOT NULL,           -- again, where events of another log came in between
    reserved_seq INTEGER NOT NULL   -- no greater one was ever shown
);
"""

_EVENTS = """
CREATE TABLE events (
    log INTEGER NOT NULL REFERENCES logs (id),
    seq INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,       -- when it was; of a hit or miss, when it was detected
    event TEXT NOT NULL,
    target_id TEXT NOT NULL,        -- empty: about no target
    data TEXT NOT NULL,             -- a JSON object
    report TEXT,                    -- what a hit or miss is known by for ever
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_report ON events (report) WHERE report IS NOT NULL;
"""

_BY_NAME = "CREATE INDEX events_by_name ON events (event, log, seq);"

_DIGEST = """
CREATE {temp} TABLE games (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,           -- of `game_started`
    unix_ms INTEGER NOT NULL,
    game_id TEXT NOT NULL,
    game TEXT NOT NULL,
    title TEXT NOT NULL,
    turn TEXT,                      -- whose it is
    end_seq INTEGER,                -- no later event belongs to it; NULL while it may go on
    over_seq INTEGER,               -- of `game_over`
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE INDEX {schema}games_that_go_on ON games (end_seq) WHERE end_seq IS NULL;
CREATE {temp} TABLE seats (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,           -- of the game
    place INTEGER NOT NULL,
    player TEXT NOT NULL,           -- as the hub had it
    known TEXT NOT NULL,            -- as history has it
    score INTEGER NOT NULL DEFAULT 0,
    won INTEGER NOT NULL DEFAULT 0,
    best_ms INTEGER,                -- the fastest hit that scored and was not taken back
    PRIMARY KEY (log, seq, place)
) WITHOUT ROWID;
CREATE INDEX {schema}seats_by_name ON seats (known, log, seq);
CREATE {temp} TABLE shots (
    target_id TEXT NOT NULL,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    hit INTEGER NOT NULL,           -- 1 or 0
    missed INTEGER NOT NULL,        -- its time was up; neither: it was called off
    reaction_ms INTEGER,
    dropped INTEGER NOT NULL,       -- reports that the target had lost by then, since its boot
    game TEXT,                      -- the kind of game that was played
    player TEXT,                    -- whose turn it was, or who got the points
    crosstalk_of TEXT NOT NULL,     -- the target that was struck, and shook this one: no hit. Else empty
    PRIMARY KEY (target_id, log, seq)
) WITHOUT ROWID;
"""

# With `+` SQLite does not look through all games of the log: few go on, and these have an index.
_GOES_ON = "end_seq IS NULL AND +log = new.log AND +seq < new.seq"
# The game that goes on at an event.
_GAME_NOW = """
    games.log = new.log AND games.end_seq IS NULL AND games.seq = (
        SELECT seq FROM games WHERE log = new.log AND seq < new.seq ORDER BY seq DESC LIMIT 1)
"""
_ITS_GAME = f"{_GAME_NOW} AND games.game_id = json_extract(new.data, '$.game_id')"
_ITS_SEAT = f"""
    seats.player = json_extract(new.data, '$.player')
    AND (seats.log, seats.seq) = (SELECT log, seq FROM games WHERE {_ITS_GAME})
"""

# Each for one kind of event; one that does not say what it has to counts for nothing.
COUNTING = {
    "game_started": f"""
        UPDATE games SET end_seq = new.seq - 1 WHERE {_GOES_ON};
        INSERT OR IGNORE INTO games (log, seq, unix_ms, game_id, game, title)
            SELECT new.log, new.seq, new.unix_ms, json_extract(new.data, '$.game_id'),
                json_extract(new.data, '$.game'),
                iif(json_type(new.data, '$.title') = 'text', json_extract(new.data, '$.title'),
                    json_extract(new.data, '$.game'))
            WHERE json_type(new.data, '$.game_id') = 'text' AND json_type(new.data, '$.game') = 'text'
                AND json_type(new.data, '$.players') = 'array'
                AND NOT EXISTS (SELECT 1 FROM json_each(new.data, '$.players') WHERE type <> 'text');
        INSERT OR IGNORE INTO seats (log, seq, place, player, known)
            SELECT games.log, games.seq, key, value, value FROM games, json_each(new.data, '$.players')
            WHERE games.log = new.log AND games.seq = new.seq;
    """,
    "game_turn": f"""
        UPDATE games SET turn = json_extract(new.data, '$.player')
            WHERE json_type(new.data, '$.player') = 'text' AND {_ITS_GAME};
    """,
    "game_score": f"""
        UPDATE seats SET score = json_extract(new.data, '$.total')
            WHERE json_type(new.data, '$.total') = 'integer' AND {_ITS_SEAT};
        UPDATE seats SET best_ms = min(coalesce(best_ms, 1 << 62), json_extract(new.data, '$.reaction_ms'))
            WHERE json_type(new.data, '$.total') = 'integer'
                AND json_type(new.data, '$.reaction_ms') = 'integer' AND {_ITS_SEAT};
        UPDATE seats SET best_ms = (
            SELECT min(json_extract(data, '$.reaction_ms')) FROM events
            WHERE log = seats.log AND seq > seats.seq AND seq < new.seq AND event = 'game_score'
                AND json_valid(data) AND json_extract(data, '$.player') = seats.player
                AND json_type(data, '$.total') = 'integer' AND json_type(data, '$.reaction_ms') = 'integer'
                AND seq NOT IN (
                    SELECT json_extract(data, '$.score_seq') FROM events
                    WHERE log = seats.log AND seq > seats.seq AND seq <= new.seq AND event = 'game_score'
                        AND json_valid(data) AND json_type(data, '$.score_seq') = 'integer'))
            WHERE json_type(new.data, '$.score_seq') = 'integer' AND {_ITS_SEAT};
        UPDATE shots SET player = coalesce(
                (SELECT known FROM seats WHERE {_ITS_SEAT}), json_extract(new.data, '$.player'))
            WHERE json_type(new.data, '$.player') = 'text' AND target_id = new.target_id AND log = new.log
                AND reaction_ms = json_extract(new.data, '$.reaction_ms')
                AND seq > (SELECT games.seq FROM games WHERE {_ITS_GAME})
                AND seq = (SELECT max(seq) FROM shots
                    WHERE target_id = new.target_id AND log = new.log AND seq < new.seq);
    """,
    "game_over": f"""
        UPDATE seats SET
            score = coalesce(json_extract(new.data, '$.scores[' || place || ']'), score),
            won = coalesce(player = json_extract(new.data, '$.winner'), 0)
            WHERE json_type(new.data, '$.scores') = 'array'
                AND NOT EXISTS (SELECT 1 FROM json_each(new.data, '$.scores') WHERE type <> 'integer')
                AND (log, seq) = (SELECT log, seq FROM games WHERE {_ITS_GAME});
        UPDATE games SET over_seq = new.seq, end_seq = new.seq,
            reason = coalesce(json_extract(new.data, '$.reason'), '')
            WHERE json_type(new.data, '$.scores') = 'array'
                AND NOT EXISTS (SELECT 1 FROM json_each(new.data, '$.scores') WHERE type <> 'integer')
                AND {_ITS_GAME};
    """,
    "lost": f"""
        UPDATE games SET end_seq = new.seq WHERE {_GOES_ON}
            AND json_extract(new.data, '$.reason') = '{CloseReason.STOPPING}';
    """,
}
_ECHO_OF = """
    iif(json_type(new.data, '$.crosstalk_of') = 'text', json_extract(new.data, '$.crosstalk_of'), '')
"""
# A hub that was killed has not said that its game is over; its leap says so.
_SHOT_IN = f"{_GAME_NOW} AND games.seq / {LEAP} = new.seq / {LEAP}"
_SHOT = f"""
        INSERT OR IGNORE INTO shots
            SELECT new.target_id, new.log, new.seq, new.unix_ms,
                new.event = 'hit' AND {_ECHO_OF} = '',
                new.event = 'miss' AND coalesce(json_extract(new.data, '$.reason'), 'time_up') = 'time_up',
                iif(new.event = 'hit' AND {_ECHO_OF} = ''
                    AND json_type(new.data, '$.reaction_ms') = 'integer',
                    json_extract(new.data, '$.reaction_ms'), NULL),
                iif(json_type(new.data, '$.dropped') = 'integer', json_extract(new.data, '$.dropped'), 0),
                (SELECT game FROM games WHERE {_SHOT_IN}),
                (SELECT known FROM games JOIN seats USING (log, seq) WHERE {_SHOT_IN} AND iif(turn IS NULL,
                    1 = (SELECT count(*) FROM seats WHERE seats.log = games.log AND seats.seq = games.seq),
                    player = turn)),
                {_ECHO_OF};
"""
COUNTING["hit"] = COUNTING["miss"] = _SHOT
# Of a hit that was told before: the stronger one came later.
COUNTING["crosstalk"] = f"""
        UPDATE shots SET hit = 0, reaction_ms = NULL, crosstalk_of = {_ECHO_OF}
            WHERE target_id = new.target_id AND log = new.log AND seq = json_extract(new.data, '$.hit_seq');
"""

_FORGETTING = """
CREATE TRIGGER forget_game AFTER DELETE ON events WHEN old.event = 'game_started' BEGIN
    DELETE FROM seats WHERE log = old.log AND seq = old.seq;
    DELETE FROM games WHERE log = old.log AND seq = old.seq;
END;
CREATE TRIGGER forget_shot AFTER DELETE ON events WHEN old.event IN ('hit', 'miss') BEGIN
    DELETE FROM shots WHERE target_id = old.target_id AND log = old.log AND seq = old.seq;
END;
"""


def _triggers(temp: str, when: str) -> str:
    # A row that is no JSON to SQLite, such as one with NaN, must not fail for ever: it counts for nothing.
    return "".join(
        f"CREATE {temp} TRIGGER {temp}count_{event} {when} WHEN new.event = '{event}'"
        f" AND json_valid(new.data) BEGIN {counting} END;\n"
        for event, counting in COUNTING.items()
    )


def _counting_once() -> str:
    """Count what `events` has already, with the very same triggers, one after the other in its order."""
    kinds = ", ".join(f"'{event}'" for event in COUNTING)
    drops = "".join(f"DROP TRIGGER temp.tempcount_{event};" for event in COUNTING)
    return f"""
        CREATE TEMP VIEW feed AS SELECT * FROM main.events;
        {_triggers("temp", "INSTEAD OF INSERT ON feed")}
        INSERT INTO feed SELECT * FROM main.events WHERE event IN ({kinds}) ORDER BY log, seq;
        {drops}
        DROP VIEW temp.feed;
    """


def known_as(name: str) -> str:
    """Return a player's name in the history. Older hubs took several that nobody can tell apart."""
    return normalised(visible(name)) or "?"


def names_of(players: list[str]) -> dict[str, str]:
    """Return what each player of a game is known as; two of whom nothing seen was different are told
    apart.
    """
    found: dict[str, str] = {}
    for player in players:
        name = known_as(player)
        alike = sum(known_as(other) == name for other in found)
        found[player] = f"{name} ({alike + 1})" if alike else name
    return found


def name_players(db: sqlite3.Connection, game: tuple[int, int] | None = None) -> None:
    """Find out what the players of a game, by `log` and `seq`, or of all games are known as; no SQL can."""
    where, values = ("WHERE (log, seq) = (?, ?)", game) if game else ("", ())
    rows = db.execute(
        f"SELECT log, seq, CAST(player AS TEXT) FROM seats {where} ORDER BY log, seq, place", values
    )
    for (log, seq), seats in groupby(rows.fetchall(), key=lambda row: row[:2]):
        for player, known in names_of([player for _, _, player in seats]).items():
            if known != player:
                db.execute(
                    "UPDATE seats SET known = ? WHERE (log, seq, player) = (?, ?, ?)",
                    (known, log, seq, player),
                )
                db.execute(
                    "UPDATE shots SET player = ? WHERE player = ? AND log = ? AND seq BETWEEN ? AND"
                    " (SELECT coalesce(end_seq, seq) FROM games WHERE (log, seq) = (?, ?))",
                    (known, player, log, seq, log, seq),
                )


def make(log_id: str) -> str:
    """Return SQL that makes a journal of an empty file."""
    return (
        _LOGS.format(name="logs")
        + _EVENTS
        + _BY_NAME
        + _DIGEST.format(temp="", schema="")
        + _triggers("", "AFTER INSERT ON events")
        + _FORGETTING
        + f"INSERT INTO logs VALUES (1, '{log_id}', 0); PRAGMA user_version = {VERSION};"
    )


def upgrade() -> str:
    """Return SQL that makes a journal of version 1 one of this version. Afterwards the players want to be
    named.
    """
    return (
        _LOGS.format(name="new_logs")
        + "INSERT INTO new_logs SELECT * FROM logs; DROP TABLE logs; ALTER TABLE new_logs RENAME TO logs;"
        + "DROP INDEX events_by_time; DROP INDEX events_by_name;"
        + _BY_NAME
        + _DIGEST.format(temp="", schema="")
        + _counting_once()
        + _triggers("", "AFTER INSERT ON events")
        + _FORGETTING
        + f"PRAGMA user_version = {VERSION};"
    )


def count_aside(db: sqlite3.Connection) -> None:
    """Count in memory what a journal of version 1 has that is only read, for this connection.
    Takes some seconds where there are ten thousand games. Raises sqlite3.Error.
    """
    db.executescript(
        "PRAGMA temp_store = MEMORY; BEGIN;" + _DIGEST.format(temp="TEMP", schema="temp.") + _counting_once()
    )
    name_players(db)
    db.execute("COMMIT")
