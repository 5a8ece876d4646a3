package host

import (
	"context"
	"database/sql"
	"iter"
	"math"
	"path/filepath"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// removalsKept is how long a removal is told to those who follow.
const removalsKept = time.Hour

// path returns the file's name for messages.
func (s *State) path() string { return filepath.Join(s.dir, FileName) }

// Put keeps an answer; it is in the file within [flushEvery].
func (s *State) Put(key extract.Key, a cache.Answer) {
	if a.Report != nil {
		s.queue.add(note{key: key.Clone(), answer: &a}, s.opt.OnTrouble)
	}
}

// Relate keeps a relation; it is in the file within [flushEvery].
func (s *State) Relate(key extract.Key, relation intel.Finding) {
	s.queue.add(note{key: key.Clone(), relation: &relation}, s.opt.OnTrouble)
}

// Get reads what is held of key, and what waits to be written of it.
func (s *State) Get(key extract.Key) (h cache.Held, ok bool) {
	if s.queue.has(key) {
		_ = s.Flush() // it says so itself when it fails
	}
	err := s.with(func(f *file) (err error) {
		h, err = f.get(key)
		return err
	})
	return h, err == nil && (len(h.Answers) > 0 || h.Relation.Verdict != intel.NoVerdict)
}

func (f *file) get(key extract.Key) (h cache.Held, err error) {
	err = f.query(context.Background(), func(r row) {
		if c, ok := r.answer(); ok {
			h.Answers = append(h.Answers, c.Answer)
		}
	}, selectAnswers+`WHERE value = ? AND type = ? ORDER BY id`, key.Value, key.Type.String())
	if err != nil {
		return cache.Held{}, err
	}
	err = f.query(context.Background(), func(r row) {
		if c, ok := r.relation(nil); ok {
			h.Relation, h.Until = c.Relation, c.Until
		}
	}, selectRelations+`WHERE r.value = ? AND r.type = ?`, key.Value, key.Type.String())
	return h, err
}

// Remove forgets key and what its reports relate, at once. Processes that follow hear of it within [pollEvery].
func (s *State) Remove(key extract.Key) error {
	if err := s.Flush(); err != nil {
		return err
	}
	now := time.Now()
	old := now.Add(-removalsKept)
	return s.write(func(f *file) error {
		return f.transact(func(tx *sql.Tx) error {
			for _, q := range []string{
				`INSERT INTO removed (type, value, at) VALUES (?2, ?1, ?3)`,
				`INSERT INTO removed (type, value, at) SELECT r.type, r.value, ?3 FROM relations r JOIN answers a
					ON a.id = r.answer WHERE a.value = ?1 AND a.type = ?2`,
				`DELETE FROM answers WHERE value = ?1 AND type = ?2`,
				`DELETE FROM relations WHERE value = ?1 AND type = ?2`,
				`DELETE FROM removed WHERE at NOT BETWEEN ?4 AND ?3`,
			} {
				_, err := tx.Exec(q, key.Value, key.Type.String(), now.UnixMilli(), old.UnixMilli())
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Answers yields all answers of the file, the latest first. An error is the last thing that it yields. What changes
// meanwhile may be among them or not.
func (s *State) Answers(ctx context.Context) iter.Seq2[cache.Change, error] {
	return func(yield func(cache.Change, error) bool) {
		for last, more := int64(math.MaxInt64), true; more; {
			var page []cache.Change // yield may take its time, and must not hold up the file
			var err error
			if page, last, err = s.page(ctx, last); err != nil {
				yield(cache.Change{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			more = last > 0
		}
	}
}

// page returns the answers before the id last, and the id to go on with, 0 at the end.
func (s *State) page(ctx context.Context, last int64) (page []cache.Change, next int64, err error) {
	err = s.with(func(f *file) error {
		page, next = nil, 0
		rows := 0
		err := f.query(ctx, func(r row) {
			if c, ok := r.answer(); ok {
				page = append(page, c)
			}
			next = r.id
			rows++
		}, selectAnswers+`WHERE id < ? ORDER BY id DESC LIMIT ?`, last, chunk)
		if rows < chunk {
			next = 0
		}
		return err
	})
	return page, next, err
}

// What a [row] is read from.
const (
	selectRemoved   = `SELECT id, type, value FROM removed `
	selectAnswers   = `SELECT id, type, value, source, origin, fetched, expires, report FROM answers `
	selectRelations = `SELECT r.id, r.type, r.value, a.source, a.origin, r.seen, a.expires, a.report,
		r.kind, a.id, a.type, a.value FROM relations r JOIN answers a ON a.id = r.answer `
)

// row is a row of selectRelations; of the others it has the first fields. What it holds may have been written by a
// later version, or by hand: a row that makes no sense is as good as none.
type row struct {
	id               int64
	typ, value       string
	source, origin   string
	at, expires      int64 // Unix milliseconds
	report           sql.RawBytes
	kind             string
	via              int64
	viaType, viaName string
}

// query calls do with each row; its report is valid until do returns.
func (f *file) query(ctx context.Context, do func(row), q string, args ...any) error {
	rows, err := f.read.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // what matters is Err
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	var r row
	fields := []any{&r.id, &r.typ, &r.value, &r.source, &r.origin, &r.at, &r.expires, &r.report,
		&r.kind, &r.via, &r.viaType, &r.viaName}[:len(columns)]
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		do(r)
	}
	return rows.Err()
}

// removal reads a row of selectRemoved.
func (r *row) removal() (cache.Change, bool) {
	t, ok := extract.ParseType(r.typ)
	return cache.Change{Key: extract.Key{Type: t, Value: r.value}}, ok
}

// answer reads a row of selectAnswers.
func (r *row) answer() (cache.Change, bool) {
	t, ok := extract.ParseType(r.typ)
	report, err := intel.ParseReport(r.report)
	return cache.Change{Key: extract.Key{Type: t, Value: r.value}, Answer: cache.Answer{
		Source: r.source, Origin: intel.Origin(r.origin), Report: &report,
		Fetched: time.UnixMilli(r.at), Expires: time.UnixMilli(r.expires),
	}}, ok && err == nil
}

// relation reads a row of selectRelations. Reports, by the id of their answer, are shared through parsed unless it is
// nil.
func (r *row) relation(parsed map[int64]*intel.Report) (cache.Change, bool) {
	t, ok := extract.ParseType(r.typ)
	viaType, okVia := extract.ParseType(r.viaType)
	report := parsed[r.via]
	if report == nil {
		read, err := intel.ParseReport(r.report)
		if err != nil {
			return cache.Change{}, false
		}
		if report = &read; parsed != nil {
			parsed[r.via] = report
		}
	}
	found := intel.Finding{
		Verdict: intel.Related, Origin: intel.Origin(r.origin), Source: r.source, Report: report,
		Via: extract.Key{Type: viaType, Value: r.viaName}, Relation: r.kind,
	}
	if r.at != 0 {
		found.Seen = time.UnixMilli(r.at).UTC()
	}
	return cache.Change{
		Key: extract.Key{Type: t, Value: r.value}, Relation: found, Until: time.UnixMilli(r.expires),
	}, ok && okVia
}
