package host

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// applicationID marks a file as ours, in the way of PRAGMA application_id: "iocp".
	applicationID = 0x696f6370

	// maxChecked is the size in bytes of the largest file that is checked as a whole when it is opened, which takes
	// a few milliseconds per megabyte. Damage in a larger one shows when it is met.
	maxChecked = 16 << 20

	// settings of each connection. FULL puts each transaction on disk before it counts: a batch of answers as well
	// as a token.
	settings = "_txlock=immediate&_busy_timeout=5000&_synchronous=FULL&_foreign_keys=1&_defensive=1&_dqs=0&_error_rc=1" +
		"&_pragma=trusted_schema(0)&_pragma=journal_size_limit(16777216)"
)

// ErrNewer says that the file was written by a later version of iocpipe, and is left alone.
var ErrNewer = errors.New("written by a newer iocpipe")

var (
	errForeign = errors.New("not an iocpipe state file")
	errDamaged = damaged("found while it was used")
)

// steps lead from an empty file to the newest version; user_version counts those that were taken. New ones are added
// at the end, and none is ever changed or takes away what earlier versions use: their processes may be running on.
//
// The ids of answers, relations and removed grow with each write, so that they tell what is new as well as what is
// oldest. Times are Unix milliseconds, but for leases and budgets: see [clock].
var steps = []string{`
CREATE TABLE IF NOT EXISTS answers (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	type    TEXT NOT NULL,
	value   TEXT NOT NULL,
	source  TEXT NOT NULL,
	origin  TEXT NOT NULL,
	verdict TEXT NOT NULL,
	fetched INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	report  TEXT NOT NULL, -- a report line
	UNIQUE (value, type, source)
) STRICT;
CREATE TABLE IF NOT EXISTS relations (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	type   TEXT NOT NULL,
	value  TEXT NOT NULL,
	answer INTEGER NOT NULL REFERENCES answers ON DELETE CASCADE,
	kind   TEXT NOT NULL,
	seen   INTEGER NOT NULL, -- 0: not known
	UNIQUE (value, type)
) STRICT;
CREATE INDEX IF NOT EXISTS relations_answer ON relations (answer);
CREATE TABLE IF NOT EXISTS removed (
	id    INTEGER PRIMARY KEY AUTOINCREMENT,
	type  TEXT NOT NULL,
	value TEXT NOT NULL,
	at    INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS asked (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	at      INTEGER NOT NULL,
	type    TEXT NOT NULL,
	value   TEXT NOT NULL,
	source  TEXT NOT NULL,
	owner   TEXT NOT NULL,
	outcome TEXT NOT NULL, -- empty: in flight, or its process died
	took    INTEGER NOT NULL -- milliseconds
) STRICT;
CREATE TABLE IF NOT EXISTS leases (
	type   TEXT NOT NULL,
	value  TEXT NOT NULL,
	owner  TEXT NOT NULL,
	boot   TEXT NOT NULL,
	until  INTEGER NOT NULL,
	PRIMARY KEY (value, type)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budgets (
	source     TEXT PRIMARY KEY,
	boot       TEXT NOT NULL,
	due        INTEGER NOT NULL, -- nanoseconds: when the bucket will be full
	taker      TEXT NOT NULL,    -- who took the last token
	taken      INTEGER NOT NULL,
	waiter     TEXT NOT NULL,    -- somebody who found none
	waited     INTEGER NOT NULL, -- nanoseconds
	per_second REAL NOT NULL,
	burst      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS health (
	source TEXT PRIMARY KEY,
	up     INTEGER NOT NULL,
	note   TEXT NOT NULL,
	at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE IF NOT EXISTS holds ( -- sources that asked to be left alone
	source TEXT PRIMARY KEY,
	until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`}

// markLost is in marks when a file was there before that is damaged or gone, whose budgets nobody knows.
const markLost = "damaged"

// file is an open file.
type file struct {
	path  string
	info  os.FileInfo // tells it from another one of that name
	write *sql.DB     // one connection; its transactions are immediate
	read  *sql.DB
}

// openFile opens the file in dir. When damaged is not nil, and still the file there, it is set aside first. again says
// that there was a file before.
func openFile(dir string, damaged os.FileInfo, again bool, tell func(error)) (*file, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	unlock := lockFolder(dir) // two processes must not both set aside, or both begin
	defer unlock()
	path := filepath.Join(dir, FileName)
	f, err := connectUnless(path, damaged)
	if isDamage(err) {
		aside, e := setAside(path, time.Now())
		if e != nil {
			return nil, errors.Join(err, e)
		}
		tell(fmt.Errorf("%w: set aside as %s, and begun anew", err, filepath.Base(aside)))
		f, err = connect(path)
		again = true
	}
	if err == nil && again {
		_, err = f.write.Exec(`INSERT OR IGNORE INTO marks VALUES (?)`, markLost)
	}
	return f, err
}

// connectUnless is connect, unless the file at path is the one that is known to be damaged.
func connectUnless(path string, known os.FileInfo) (*file, error) {
	if info, err := os.Stat(path); known != nil && err == nil && os.SameFile(info, known) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	return connect(path)
}

// connect opens the file at path, creates or upgrades it.
func connect(path string) (f *file, err error) {
	if err := create(path); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f = &file{path: path}
	location := "/" + strings.TrimPrefix(filepath.ToSlash(abs), "/") // a drive's letter comes after a slash
	dsn := (&url.URL{Scheme: "file", Path: location, RawQuery: settings}).String()
	if f.write, err = sql.Open("sqlite", dsn); err != nil {
		return nil, err
	}
	f.write.SetMaxOpenConns(1)
	if f.read, err = sql.Open("sqlite", dsn+"&_query_only=1"); err != nil {
		return nil, err
	}
	f.read.SetMaxOpenConns(4)
	if err = f.prepare(steps); err != nil {
		_ = f.close() // the other error tells more
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// create creates an empty file, which SQLite takes for an empty database, for its owner alone. A file that is there
// must not be opened but by SQLite: closing it would end the locks that this process has on it.
func create(path string) error {
	empty, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return empty.Close()
}

// prepare makes sure that the file is ours and whole, and brings it to the version that steps lead to.
func (f *file) prepare(steps []string) (err error) {
	if f.info, err = os.Stat(f.path); err != nil {
		return err
	}
	var id, version, tables int
	row := f.write.QueryRow(`SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`)
	if err := row.Scan(&id, &version, &tables); err != nil {
		return err
	}
	switch {
	case id != applicationID && id|version|tables != 0:
		return errForeign
	case version > len(steps):
		return fmt.Errorf("%w: version %d, this one knows %d", ErrNewer, version, len(steps))
	}
	if err := f.check(); err != nil {
		return err
	}
	var mode string
	if err := f.write.QueryRow(`PRAGMA journal_mode = WAL`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system cannot share it between processes (journal mode %s)", mode)
	}
	return f.upgrade(version, steps)
}

// check reads a small file as a whole.
func (f *file) check() error {
	if f.info.Size() > maxChecked {
		return nil
	}
	var verdict string
	if err := f.write.QueryRow(`PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return damaged(verdict)
	}
	return nil
}

// upgrade takes the steps that version lacks, all or none.
func (f *file) upgrade(version int, steps []string) error {
	if version == len(steps) {
		return nil
	}
	return f.transact(func(tx *sql.Tx) error {
		for i, step := range steps[version:] {
			if _, err := tx.Exec(step); err != nil {
				return fmt.Errorf("upgrade to version %d: %w", version+i+1, err)
			}
		}
		_, err := tx.Exec(fmt.Sprintf(`PRAGMA application_id = %d; PRAGMA user_version = %d`, applicationID, len(steps)))
		return err
	})
}

// transact calls do in an immediate transaction, which counts, and is on disk, when transact returns nil.
func (f *file) transact(do func(*sql.Tx) error) error {
	tx, err := f.write.Begin()
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the other error tells more
		return err
	}
	return tx.Commit()
}

// replaced reports whether another file, or none, is at the path now.
func (f *file) replaced() bool {
	info, err := os.Stat(f.path)
	return err != nil || !os.SameFile(info, f.info)
}

func (f *file) close() error { return errors.Join(f.read.Close(), f.write.Close()) }

// setAside renames the file at path, and what SQLite keeps beside it.
func setAside(path string, now time.Time) (aside string, err error) {
	aside = path + ".corrupt-" + now.UTC().Format("20060102T150405.000Z")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Rename(path+suffix, aside+suffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return aside, err
}

// damaged is what is wrong with a file.
type damaged string

func (d damaged) Error() string { return "damaged: " + string(d) }

// isDamage reports whether err says that the file is damaged, or not ours.
func isDamage(err error) bool {
	var found damaged
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	case sqlite3.SQLITE_ERROR: // which says all kinds of things
		return strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "no such column")
	}
	return errors.Is(err, errForeign) || errors.As(err, &found)
}

// isCanceled reports whether err only says that somebody stopped waiting.
func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || sqliteCode(err) == sqlite3.SQLITE_INTERRUPT
}

// sqliteCode returns the primary result code of an error of SQLite, 0 of any other.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}
