package host

import (
	"context"
	"time"

	"iocpipe/cache"
	"iocpipe/intel"
)

const (
	// pollEvery is how often the file is looked at for what others wrote.
	pollEvery = time.Second

	chunk = 2000 // rows read at once; a longer read would keep SQLite from reusing its log
)

// follower is how far somebody has read a file.
type follower struct {
	file                        *file
	answers, relations, removed int64 // the last ids
}

// Follow loads the newest answers and relations, and tells what changes within [pollEvery] after that. A file that
// cannot be read for a while only delays it.
func (s *State) Follow(ctx context.Context, n int, apply func(cache.Change), loaded func(all bool)) error {
	var at follower
	var all bool
	_ = s.with(func(f *file) (err error) { // when it fails, so does what follows
		at, all, err = begin(ctx, f, n)
		return err
	})
	for loading := true; ctx.Err() == nil; {
		var changes []cache.Change
		var more bool
		err := s.with(func(f *file) (err error) {
			if f != at.file {
				at = follower{file: f}
			}
			changes, more, err = at.read(ctx)
			return err
		})
		for _, c := range changes { // not before: apply may want to read, too
			apply(c)
		}
		if more {
			continue
		}
		if loading {
			loading = false
			loaded(all && err == nil)
		}
		sleep(ctx, pollEvery)
	}
	return nil
}

// begin stands before the newest n answers and relations, and behind all removals: there is nothing yet to be removed.
func begin(ctx context.Context, f *file, n int) (at follower, all bool, err error) {
	at.file = f
	err = f.read.QueryRowContext(ctx, `SELECT
		ifnull((SELECT id FROM answers ORDER BY id DESC LIMIT 1 OFFSET ?1), 0),
		ifnull((SELECT id FROM relations ORDER BY id DESC LIMIT 1 OFFSET ?1), 0),
		ifnull((SELECT max(id) FROM removed), 0)`, n).Scan(&at.answers, &at.relations, &at.removed)
	return at, at.answers == 0 && at.relations == 0, err
}

// read reads on; more says that there is more to be read at once. Removals come first: what is read after one is what
// was left, or put since.
func (at *follower) read(ctx context.Context) (changes []cache.Change, more bool, err error) {
	add := func(c cache.Change, ok bool) {
		if ok {
			changes = append(changes, c)
		}
	}
	rows, useless := 0, time.Now().Add(-cache.StaleFor).UnixMilli()
	if err = at.file.query(ctx, func(r row) {
		add(r.removal())
		at.removed = r.id
	}, selectRemoved+`WHERE id > ? ORDER BY id`, at.removed); err != nil {
		return changes, false, err
	}
	err = at.file.query(ctx, func(r row) {
		add(r.answer())
		at.answers = r.id
		rows++
	}, selectAnswers+`WHERE id > ? AND expires > ? ORDER BY id LIMIT ?`, at.answers, useless, chunk)
	if err != nil || rows == chunk {
		return changes, err == nil, err
	}
	parsed := make(map[int64]*intel.Report)
	err = at.file.query(ctx, func(r row) {
		add(r.relation(parsed))
		at.relations = r.id
		rows++
	}, selectRelations+`WHERE r.id > ? ORDER BY r.id LIMIT ?`, at.relations, chunk)
	return changes, rows >= chunk, err
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
