package host

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

func ip(value string) extract.Key { return extract.Key{Type: extract.IP, Value: value} }

func answerNow(source string, votes int8) cache.Answer {
	now := time.Now()
	return cache.Answer{
		Source: source, Origin: intel.FromThreatCrowd, Fetched: now, Expires: now.Add(time.Hour),
		Report: &intel.Report{Known: true, Voted: true, Votes: votes},
	}
}

// troubles collects what OnTrouble is told.
type troubles struct {
	mu   sync.Mutex
	list []error
}

func (t *troubles) tell(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, err)
}

func (t *troubles) told() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list
}

// raw opens the file in dir with nothing of ours.
func raw(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd name?#%41&x=1", "state")
	s := openTest(t, dir, Options{})
	s.Put(ip("203.0.113.1"), answerNow("one", 1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"": 0o700, FileName: 0o600, FileName + "-wal": 0o600, FileName + "-shm": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want mode %v", name, info, err, want)
		}
	}
}

// setAsideFiles returns what was set aside in dir, but for what belongs to it.
func setAsideFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, FileName+".corrupt-*Z"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSetAside(t *testing.T) {
	whole := t.TempDir()
	s := openTest(t, whole, Options{})
	for i := range 500 {
		s.Put(extract.Key{Type: extract.Domain, Value: strings.Repeat("a", i%60) + ".example"}, answerNow("one", 1))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(whole, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"text":              []byte("this is no database\n" + strings.Repeat("x", 4096)),
		"cut off":           content[:len(content)/2],
		"header alone":      content[:100],
		"page overwritten":  []byte(string(content[:8192]) + strings.Repeat("\xff", 4096) + string(content[12288:])),
		"zeroed at its end": append(content[:len(content)-4096:len(content)-4096], make([]byte, 4096)...),
	} {
		t.Run(name, func(t *testing.T) { checkSetAside(t, content) })
	}
}

// checkSetAside opens a folder whose file has content, twice.
func checkSetAside(t *testing.T, content []byte) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	var told troubles
	s := openTest(t, dir, Options{OnTrouble: told.tell})
	openTest(t, dir, Options{OnTrouble: told.tell})
	aside := setAsideFiles(t, dir)
	if len(aside) != 1 || len(told.told()) != 1 {
		t.Fatalf("set aside %v, told %v", aside, told.told())
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(content) {
		t.Errorf("what was set aside has changed: %d bytes of %d, %v", len(kept), len(content), err)
	}
	if msg := told.told()[0].Error(); !strings.Contains(msg, filepath.Base(aside[0])) || !strings.Contains(msg, dir) {
		t.Errorf("told %q", msg)
	}
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if h, ok := s.Get(ip("203.0.113.1")); !ok || h.Finding(time.Now()).Verdict != intel.Malicious {
		t.Errorf("the new file holds %+v", h)
	}
	b := s.Budget("one", 1, 5)
	if grant := b.Take(ip("203.0.113.2"), time.Now()); grant != cache.NotYet || b.Delay(time.Now()) == 0 {
		t.Errorf("took %v at once: what was spent before the damage is not known", grant)
	}
}

func TestForeignIsSetAside(t *testing.T) {
	dir := t.TempDir()
	db := raw(t, dir)
	if _, err := db.Exec(`CREATE TABLE answers (question); PRAGMA user_version = 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var told troubles
	openTest(t, dir, Options{OnTrouble: told.tell})
	if len(told.told()) != 1 || !errors.Is(told.told()[0], errForeign) {
		t.Errorf("told %v", told.told())
	}
	other, err := sql.Open("sqlite", setAsideFiles(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Exec(`INSERT INTO answers (question) VALUES ('still here')`); err != nil {
		t.Error(err)
	}
}

func TestDamageIsMetLater(t *testing.T) {
	dir := t.TempDir()
	var told troubles
	s := openTest(t, dir, Options{OnTrouble: told.tell})
	other := openTest(t, dir, Options{})
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	met := false
	if err := s.with(func(*file) error { // as if a query had met it
		if met {
			return nil
		}
		met = true
		return damaged("page 7")
	}); err != nil {
		t.Fatal(err)
	}
	if len(setAsideFiles(t, dir)) != 1 || len(told.told()) != 1 {
		t.Fatalf("set aside %v, told %v", setAsideFiles(t, dir), told.told())
	}
	s.Put(ip("203.0.113.2"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, ok := other.Get(ip("203.0.113.2")); !ok {
		t.Error("another process goes on with the file that was set aside")
	}
}

// A file that lacks a table is damaged, though every page of it is whole.
func TestLackingTableIsDamage(t *testing.T) {
	dir := t.TempDir()
	var told troubles
	s := openTest(t, dir, Options{OnTrouble: told.tell})
	if _, err := raw(t, dir).Exec(`DROP TABLE answers`); err != nil {
		t.Fatal(err)
	}
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Get(ip("203.0.113.1")); !ok || len(setAsideFiles(t, dir)) == 0 || len(told.told()) == 0 {
		t.Errorf("set aside %v, told %v", setAsideFiles(t, dir), told.told())
	}
}

func TestReplacedFile(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	other := openTest(t, dir, Options{})
	if _, ok := other.Get(ip("203.0.113.1")); !ok {
		t.Error("what was put after the folder was removed is not in the new one")
	}
}

func TestNewer(t *testing.T) {
	dir := t.TempDir()
	if err := openTest(t, dir, Options{}).with(func(f *file) error {
		_, err := f.write.Exec(`PRAGMA user_version = 99`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if aside := setAsideFiles(t, dir); len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}
}

func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	next := append(steps[:len(steps):len(steps)], `ALTER TABLE answers ADD COLUMN note TEXT NOT NULL DEFAULT 'none'`)
	broken := append(next[:len(next):len(next)], `CREATE TABLE more (id) STRICT`)
	f := &file{path: s.path(), write: raw(t, dir)}
	if err := f.prepare(broken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("version %d", len(broken))) {
		t.Errorf("a step that fails: %v", err)
	}
	if got := queryOne(t, f.write, `SELECT user_version FROM pragma_user_version`); got != fmt.Sprint(len(steps)) {
		t.Errorf("after a step that failed: version %s", got)
	}
	for range 2 {
		if err := f.prepare(next); err != nil {
			t.Fatal(err)
		}
	}
	got := queryOne(t, f.write, `SELECT user_version || ' ' || value || ' ' || note FROM pragma_user_version, answers`)
	if got != fmt.Sprintf("%d 203.0.113.1 none", len(next)) {
		t.Errorf("after the upgrade: %s", got)
	}
	s.Put(ip("203.0.113.2"), answerNow("one", -1))
	if err := s.Flush(); err != nil {
		t.Errorf("a process of the old version cannot go on: %v", err)
	}
}

// TestUpgradeFromFirst opens a file as the first version left it.
func TestUpgradeFromFirst(t *testing.T) {
	dir := t.TempDir()
	old := &file{path: filepath.Join(dir, FileName), write: raw(t, dir)}
	if err := create(old.path); err != nil {
		t.Fatal(err)
	}
	if err := old.prepare(steps[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := old.write.Exec(`INSERT INTO answers (type, value, source, origin, verdict, fetched, expires, report)
		VALUES ('ip', '203.0.113.1', 'crowd', 'threatcrowd', 'none', 1, 2, '{"response_code":"0"}')`); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir, Options{})
	if held, ok := s.Get(ip("203.0.113.1")); !ok || held.Answers[0].Source != "crowd" {
		t.Errorf("after the upgrade: %+v", held)
	}
	s.Budget("crowd", 1, 5).Hold(time.Now().Add(time.Hour))
	if got := queryOne(t, old.write, `SELECT count(*) FROM holds`); got != "1" {
		t.Errorf("%s holds, want 1", got)
	}
}

func TestUpgradeFromNothing(t *testing.T) {
	dir := t.TempDir()
	db := raw(t, dir)
	if _, err := db.Exec(`PRAGMA application_id = ` + queryOne(t, db, `SELECT 0x696f6370`)); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	var told troubles
	s := openTest(t, dir, Options{OnTrouble: told.tell})
	s.Put(ip("203.0.113.1"), answerNow("one", -1))
	if err := s.Flush(); err != nil || len(told.told()) != 0 {
		t.Errorf("%v, told %v", err, told.told())
	}
}

func queryOne(t testing.TB, db *sql.DB, q string) (got string) {
	t.Helper()
	if err := db.QueryRow(q).Scan(&got); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return got
}

func TestUnusableFolder(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{blocked, filepath.Join(blocked, "below")} {
		if s, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), blocked) {
			t.Errorf("%s: %v, %v", dir, s, err)
		}
	}
}

// TestFullDisk has SQLite run out of pages, which it reports as it does a full disk, and then not be allowed to write.
func TestFullDisk(t *testing.T) {
	for name, limit := range map[string][2]string{
		"full":      {`PRAGMA max_page_count = 1`, `PRAGMA max_page_count = 1000000`},
		"read-only": {`PRAGMA query_only = 1`, `PRAGMA query_only = 0`},
	} {
		t.Run(name, func(t *testing.T) {
			var told troubles
			s := openTest(t, t.TempDir(), Options{OnTrouble: told.tell})
			m := memoryOver(t, s, 10)
			set := func(q string) {
				if _, err := s.current().write.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
			set(limit[0])
			a := answerNow("one", -1)
			a.Report.References = []string{strings.Repeat("long ", 20_000)}
			m.Put(ip("203.0.113.1"), a)
			err := s.Flush()
			if code := sqliteCode(err); code != sqlite3.SQLITE_FULL && code != sqlite3.SQLITE_READONLY {
				t.Fatalf("got %v", err)
			}
			if _, ok := m.Get(ip("203.0.113.1")); !ok {
				t.Error("the answer is lost")
			}
			for range 3 {
				grant := s.Budget("one", 1, 5).Take(ip("203.0.113.2"), time.Now())
				if name == "read-only" && grant != cache.NotYet {
					t.Errorf("took %v though it cannot be counted", grant)
				}
				_ = s.Flush()
			}
			set(limit[1])
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			list := told.told()
			if len(list) != 2 || list[0] == nil || list[1] != nil || len(setAsideFiles(t, s.dir)) != 0 {
				t.Errorf("told %v", list)
			}
			if _, ok := s.Get(ip("203.0.113.1")); !ok {
				t.Error("the answer was not written afterwards")
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := queue{wake: make(chan struct{}, 1)}
	var told troubles
	a := answerNow("one", 1)
	for range maxQueued + 10 {
		q.add(note{key: ip("203.0.113.1"), answer: &a}, told.tell)
	}
	if len(q.notes) != maxQueued || q.dropped != 10 || len(told.told()) != 1 {
		t.Errorf("%d queued, %d dropped, told %v", len(q.notes), q.dropped, told.told())
	}
	q.written(maxQueued)
	if q.has(ip("203.0.113.1")) || len(q.waiting) != 0 {
		t.Errorf("still waiting: %v", q.waiting)
	}
}

func TestSizeIsBounded(t *testing.T) {
	const most = 300 << 10
	s := openTest(t, t.TempDir(), Options{MaxBytes: most})
	a := answerNow("one", -1)
	a.Report.References = []string{strings.Repeat("x", 1000)}
	names := make([]extract.Key, 1000)
	for i := range names {
		names[i] = question(i)
		s.Put(names[i], a)
		s.Relate(ip("203.0.113.1"), intel.Finding{Source: "one", Via: names[i], Relation: intel.ByHash})
		if i%50 == 49 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Bytes > most+200<<10 || stats.Answers["one"]["malicious"] < 50 || stats.Relations != 1 {
		t.Errorf("got %+v", stats)
	}
	if _, ok := s.Get(names[0]); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := s.Get(names[len(names)-1]); !ok {
		t.Error("the newest is gone")
	}
}

func TestAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	first, second := Alone(dir), Alone(dir)
	for range 2 {
		if !first() || second() {
			t.Error("not the first alone")
		}
	}
	if elsewhere := Alone(t.TempDir()); !elsewhere() {
		t.Error("not alone in another folder")
	}
}
