package host

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"iocpipe/extract"
)

// PauseName is the name of the file whose presence in the folder keeps all processes from asking. It is a file of its
// own so that it holds, and can be made, when all else is damaged.
const PauseName = "asking.paused"

// A Pause is that nothing is asked on this host.
type Pause struct {
	Since time.Time
	Note  string // who paused it, or why; may be empty
}

// PauseAsking ends all questions on the host of those who share dir, at once, until [ResumeAsking].
func PauseAsking(dir, note string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, PauseName), []byte(note+"\n"), 0o600)
}

// ResumeAsking ends a pause, if there is one.
func ResumeAsking(dir string) error {
	err := os.Remove(filepath.Join(dir, PauseName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// AskingPaused returns the pause that is in force in dir, or nil. An error, too, means that nothing is asked.
func AskingPaused(dir string) (*Pause, error) {
	path := filepath.Join(dir, PauseName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return &Pause{info.ModTime(), strings.TrimSpace(string(text))}, nil
}

// paused reports whether asking is paused in dir. What cannot be found out is.
func paused(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, PauseName))
	return !errors.Is(err, fs.ErrNotExist)
}

// Asked is a question that left the host.
type Asked struct {
	At      time.Time
	Key     extract.Key
	Source  string
	Owner   string        // the process: its id, and what tells it from others that had the same
	Outcome string        // empty while it is in flight, or when its process died
	Took    time.Duration // until the outcome
}

// Log returns the last n questions, the latest first. Each was logged before it was sent.
func (s *State) Log(ctx context.Context, n int) (log []Asked, err error) {
	err = s.Flush()
	if err != nil {
		return nil, err
	}
	err = s.with(func(f *file) error {
		rows, err := f.read.QueryContext(ctx,
			`SELECT at, type, value, source, owner, outcome, took FROM asked ORDER BY id DESC LIMIT ?`, n)
		if err != nil {
			return err
		}
		log, err = collect(rows, func(a *Asked) error {
			var at, took int64
			var typ string
			err := rows.Scan(&at, &typ, &a.Key.Value, &a.Source, &a.Owner, &a.Outcome, &took)
			a.At, a.Took = time.UnixMilli(at), time.Duration(took)*time.Millisecond
			a.Key.Type, _ = extract.ParseType(typ)
			return err
		})
		return err
	})
	return log, err
}

// collect reads rows by scan, and closes them.
func collect[T any](rows *sql.Rows, scan func(*T) error) (list []T, err error) {
	defer func() { _ = rows.Close() }() // what matters is Err
	for rows.Next() {
		var item T
		if err := scan(&item); err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}

// Health is how a source does, as the process that asked it last has seen it.
type Health struct {
	Source string
	Up     bool
	Note   string // what is wrong
	At     time.Time
}

// NoteHealth keeps the health of a source, for [State.Stats].
func (s *State) NoteHealth(h Health) { s.queue.add(note{health: &h}, s.opt.OnTrouble) }

// Stats says how much a State holds.
type Stats struct {
	Path     string
	Version  int
	Bytes    int64 // in use; the file may be larger
	MaxBytes int64

	Answers   map[string]map[string]int // by source and verdict
	Relations int
	Oldest    time.Time // answer; zero without any
	Leases    int       // indicators that are being asked about
	Asked     int       // questions in the log
	Dropped   int       // answers that this process could not write

	Budgets []BudgetStats
	Health  []Health
}

// BudgetStats is the budget of one source.
type BudgetStats struct {
	Source    string
	PerSecond float64
	Burst     int
	Left      float64 // tokens
	LastAsked time.Time
	Held      time.Time // until when the source wants to be left alone; zero when it does not
}

// Stats counts what is held, which takes a while for millions of answers.
func (s *State) Stats(ctx context.Context) (stats Stats, err error) {
	if err := s.Flush(); err != nil {
		return Stats{}, err
	}
	err = s.with(func(f *file) error {
		stats = Stats{Path: f.path, MaxBytes: s.opt.MaxBytes, Answers: make(map[string]map[string]int)}
		boot, now := s.clock()
		return errors.Join(stats.count(ctx, f, boot, now), stats.countAnswers(ctx, f),
			stats.readBudgets(ctx, f, boot, now), stats.readHealth(ctx, f))
	})
	s.queue.mu.Lock()
	stats.Dropped = s.queue.dropped
	s.queue.mu.Unlock()
	return stats, err
}

func (s *Stats) count(ctx context.Context, f *file, boot string, now time.Duration) error {
	var oldest int64
	err := f.read.QueryRowContext(ctx, `SELECT user_version, (page_count - freelist_count) * page_size,
		(SELECT count(*) FROM relations), (SELECT count(*) FROM asked),
		(SELECT count(*) FROM leases WHERE boot = ? AND until > ?),
		ifnull((SELECT fetched FROM answers ORDER BY id LIMIT 1), 0)
		FROM pragma_user_version, pragma_page_count, pragma_freelist_count, pragma_page_size`, boot, int64(now)).
		Scan(&s.Version, &s.Bytes, &s.Relations, &s.Asked, &s.Leases, &oldest)
	if oldest != 0 {
		s.Oldest = time.UnixMilli(oldest)
	}
	return err
}

func (s *Stats) countAnswers(ctx context.Context, f *file) error {
	rows, err := f.read.QueryContext(ctx, `SELECT source, verdict, count(*) FROM answers GROUP BY source, verdict`)
	if err != nil {
		return err
	}
	_, err = collect(rows, func(*struct{}) error {
		var source, verdict string
		var n int
		err := rows.Scan(&source, &verdict, &n)
		if s.Answers[source] == nil {
			s.Answers[source] = make(map[string]int)
		}
		s.Answers[source][verdict] = n
		return err
	})
	return err
}

func (s *Stats) readBudgets(ctx context.Context, f *file, boot string, now time.Duration) error {
	rows, err := f.read.QueryContext(ctx,
		`SELECT source, boot, due, taken, per_second, burst, ifnull(until, 0)
			FROM budgets LEFT JOIN holds USING (source) ORDER BY source`)
	if err != nil {
		return err
	}
	s.Budgets, err = collect(rows, func(b *BudgetStats) error {
		var then string
		var due, taken, until int64
		if err := rows.Scan(&b.Source, &then, &due, &taken, &b.PerSecond, &b.Burst, &until); err != nil {
			return err
		}
		if b.PerSecond <= 0 || b.Burst < 1 {
			return fmt.Errorf("budget of %s: %v per second, burst %d", b.Source, b.PerSecond, b.Burst)
		}
		b.Left = newMeter(b.PerSecond, b.Burst).left(time.Duration(due), now, then == boot)
		b.LastAsked = time.UnixMilli(taken)
		if held := time.UnixMilli(until); time.Now().Before(held) {
			b.Held = held
		}
		return nil
	})
	return err
}

// left returns how many tokens are there.
func (m meter) left(due, now time.Duration, sameBoot bool) float64 {
	if !sameBoot {
		due = m.empty()
	}
	return float64(m.empty()-min(max(due-now, 0), m.empty())) / float64(max(m.interval, 1))
}

func (s *Stats) readHealth(ctx context.Context, f *file) error {
	rows, err := f.read.QueryContext(ctx, `SELECT source, up, note, at FROM health ORDER BY source`)
	if err != nil {
		return err
	}
	s.Health, err = collect(rows, func(h *Health) error {
		var at int64
		err := rows.Scan(&h.Source, &h.Up, &h.Note, &at)
		h.At = time.UnixMilli(at)
		return err
	})
	return err
}
