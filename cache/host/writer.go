package host

import (
	"database/sql"
	"errors"
	"sync"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	// flushEvery is how long an answer waits for others before they are written: what is lost at most when the
	// process is killed, but for the time that the writing takes.
	flushEvery = 250 * time.Millisecond

	// retryEvery is the pause after a failure.
	retryEvery = 2 * time.Second

	maxQueued = 50_000 // notes; a file that cannot be written must not fill the memory
	maxBatch  = 1000   // notes in a transaction, which holds up the other processes
)

// note is one thing to be written: an answer, a relation, the end of a question or a source's health.
type note struct {
	key      extract.Key
	answer   *cache.Answer
	relation *intel.Finding
	done     *done
	health   *Health
}

// queue is what waits to be written, in order.
type queue struct {
	writing sync.Mutex // held by the one who writes
	wake    chan struct{}

	mu      sync.Mutex
	notes   []note
	waiting map[extract.Key]int // answers and relations among notes
	dropped int
}

var errFull = errors.New(FileName + ": answers come faster than they can be written: some are kept in memory alone")

func (q *queue) add(n note, tell func(error)) {
	q.mu.Lock()
	full := len(q.notes) >= maxQueued
	if full {
		q.dropped++
	} else {
		q.notes = append(q.notes, n)
		if q.waiting == nil {
			q.waiting = make(map[extract.Key]int)
		}
		q.waiting[n.key]++
	}
	first := full && q.dropped == 1
	q.mu.Unlock()
	if first {
		tell(errFull)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// has reports whether something of key waits.
func (q *queue) has(key extract.Key) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[key] > 0
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.notes) == 0
}

// head returns what is to be written next. It stays queued.
func (q *queue) head() []note {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.notes), maxBatch)
	return q.notes[:n:n]
}

// written takes the first n notes out.
func (q *queue) written(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, note := range q.notes[:n] {
		if q.waiting[note.key]--; q.waiting[note.key] == 0 {
			delete(q.waiting, note.key)
		}
	}
	if q.notes = q.notes[n:]; len(q.notes) == 0 {
		q.notes = nil
	}
}

// writeBehind writes what is queued, until the State is closed.
func (s *State) writeBehind() {
	for {
		select {
		case <-s.closing:
			return
		case <-s.queue.wake:
		}
		pause := flushEvery
		for s.rest(pause) && s.Flush() != nil {
			pause = retryEvery
		}
	}
}

// rest waits for d; it returns false when the State is closed.
func (s *State) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.closing:
		return false
	case <-timer.C:
		return true
	}
}

// Flush writes what waits. What cannot be written goes on waiting.
func (s *State) Flush() error {
	s.queue.writing.Lock()
	defer s.queue.writing.Unlock()
	for notes := s.queue.head(); len(notes) > 0; notes = s.queue.head() {
		if err := s.with(func(f *file) error { return f.writeAll(notes, s.opt.MaxBytes) }); err != nil {
			return err
		}
		if s.queue.written(len(notes)); s.queue.empty() {
			s.recovered()
		}
	}
	return nil
}

// writeAll writes notes in one transaction, and makes room for them.
func (f *file) writeAll(notes []note, maxBytes int64) error {
	return f.transact(func(tx *sql.Tx) error {
		b := batch{tx: tx, prepared: make(map[string]*sql.Stmt)}
		answers := 0
		for _, n := range notes {
			if err := b.write(n); err != nil {
				return err
			}
			if n.answer != nil {
				answers++
			}
		}
		return prune(tx, 2*answers+1, maxBytes)
	})
}

// prune removes the oldest n answers, and what they relate, if the file uses more than maxBytes. The pages that become
// free are used again; the file does not shrink.
func prune(tx *sql.Tx, n int, maxBytes int64) error {
	var used int64
	err := tx.QueryRow(`SELECT (page_count - freelist_count) * page_size
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&used)
	if err != nil || used <= maxBytes {
		return err
	}
	_, err = tx.Exec(`DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY id LIMIT ?)`, n)
	return err
}

// batch is a transaction with its statements, which end with it.
type batch struct {
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
}

func (b *batch) exec(q string, args ...any) error {
	statement := b.prepared[q]
	if statement == nil {
		var err error
		if statement, err = b.tx.Prepare(q); err != nil {
			return err
		}
		b.prepared[q] = statement
	}
	_, err := statement.Exec(args...)
	return err
}

func (b *batch) write(n note) error {
	switch {
	case n.answer != nil:
		return b.putAnswer(n.key, *n.answer)
	case n.relation != nil:
		return b.putRelation(n.key, *n.relation)
	case n.done != nil:
		return b.putDone(n.key, *n.done)
	}
	return b.exec(`INSERT OR REPLACE INTO health (source, up, note, at) VALUES (?, ?, ?, ?)`,
		n.health.Source, n.health.Up, n.health.Note, n.health.At.UnixMilli())
}

// putAnswer replaces the source's earlier answer, and with it goes what that one related.
func (b *batch) putAnswer(key extract.Key, a cache.Answer) error {
	return b.exec(`INSERT OR REPLACE INTO answers (value, type, source, origin, verdict, fetched, expires, report)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS
			(SELECT 1 FROM answers WHERE value = ?1 AND type = ?2 AND source = ?3 AND fetched >= ?6)`,
		key.Value, key.Type.String(), a.Source, string(a.Origin), a.Report.Verdict().String(),
		a.Fetched.UnixMilli(), a.Expires.UnixMilli(), string(intel.AppendReport(nil, key, a.Report)))
}

func (b *batch) putRelation(key extract.Key, r intel.Finding) error {
	var seen int64
	if !r.Seen.IsZero() {
		seen = r.Seen.UnixMilli()
	}
	return b.exec(`INSERT OR REPLACE INTO relations (value, type, answer, kind, seen)
		SELECT ?1, ?2, id, ?3, ?4 FROM answers WHERE value = ?5 AND type = ?6 AND source = ?7 AND verdict = 'malicious'`,
		key.Value, key.Type.String(), r.Relation, seen, r.Via.Value, r.Via.Type.String(), r.Source)
}

func (b *batch) putDone(key extract.Key, d done) error {
	err := b.exec(`UPDATE asked SET outcome = ?, took = ? WHERE id = ?`, d.outcome, d.took.Milliseconds(), d.id)
	if err != nil {
		return err
	}
	return b.exec(`DELETE FROM leases WHERE value = ? AND type = ? AND owner = ?`, key.Value, key.Type.String(), d.owner)
}
