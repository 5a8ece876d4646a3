package enrich

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/sinks/elastic"
)

const (
	maxItems     = 1000
	maxBody      = 5 << 20
	maxConflicts = 3 // times that a document may be changed by others before it is given up
	maxTrouble   = 8 // answers in a row that are none

	// grace is how long a request that is under way may take when the job is stopped.
	grace = 20 * time.Second

	// cleanAnswers is after how many answers without trouble, for each request at once, there may be one more.
	cleanAnswers = 4
)

// A blockedError says that an index cannot be written any more.
type blockedError struct{ answer elastic.Error }

func (e *blockedError) Error() string { return e.answer.Error() }

// A writer writes updates. It is safe for concurrent use.
type writer struct {
	job     *Job
	limiter *rate.Limiter // of documents; nil without

	mu      sync.Mutex
	room    *sync.Cond
	counts  Counts
	running int
	limit   int // requests at once
	clean   int // answers since it changed
}

func newWriter(j *Job) *writer {
	w := &writer{job: j, limit: 1}
	w.room = sync.NewCond(&w.mu)
	if j.PerSecond > 0 {
		w.limiter = rate.NewLimiter(rate.Limit(j.PerSecond), max(1, min(maxItems, int(j.PerSecond))))
	}
	return w
}

func (w *writer) count(f func(*Counts)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.counts)
}

// total returns the counts, with those of earlier runs of the job.
func (w *writer) total() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.counts
	before := w.job.keep.before
	for _, add := range []struct {
		to *int64
		n  int64
	}{{&c.Read, before.Read}, {&c.Updated, before.Updated}, {&c.Unchanged, before.Unchanged}, {&c.Gone, before.Gone},
		{&c.Conflicts, before.Conflicts}, {&c.Retried, before.Retried}, {&c.DeadLetters, before.DeadLetters}, {&c.Requests, before.Requests}} {
		*add.to += add.n
	}
	return c
}

// acquire waits until n documents may be written, and until one more request may be under way.
func (w *writer) acquire(ctx context.Context, n int) error {
	if w.limiter != nil {
		for ; n > 0; n -= w.limiter.Burst() {
			if err := w.limiter.WaitN(ctx, min(n, w.limiter.Burst())); err != nil {
				return err
			}
		}
	}
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.room.Broadcast()
	})()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.running >= w.limit && ctx.Err() == nil {
		w.room.Wait()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.running++
	return nil
}

func (w *writer) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	w.room.Broadcast()
}

// adapt makes the number of requests at once follow what the server says.
func (w *writer) adapt(busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if busy {
		w.limit, w.clean = max(1, w.limit/2), 0
		return
	}
	if w.clean++; w.clean >= cleanAnswers*w.limit && w.limit < w.job.MaxInFlight {
		w.limit, w.clean = w.limit+1, 0
		w.room.Broadcast()
	}
}

// batches cuts updates into requests. Those that are limited to so many a second go in smaller ones, so that they flow.
func (j *Job) batches(updates []*update) iter.Seq[[]*update] {
	items := maxItems
	if j.writer.limiter != nil {
		items = j.writer.limiter.Burst()
	}
	return func(yield func([]*update) bool) {
		for len(updates) > 0 {
			n, size := 0, 0
			for n < len(updates) && n < items && (n == 0 || size+len(updates[n].doc) < maxBody) {
				size += len(updates[n].doc) + len(updates[n].ID) + 200
				n++
			}
			if !yield(updates[:n:n]) {
				return
			}
			updates = updates[n:]
		}
	}
}

// A delivery is the way of one batch.
type delivery struct {
	*writer
	target  *Target
	since   time.Time // nothing was taken since
	tries   int       // without progress
	trouble int       // answers in a row that are none
}

// write follows updates until each has its final outcome. When ctx is done, a request that is under way is still waited
// for, and nothing is sent any more.
func (w *writer) write(ctx context.Context, t *Target, batch []*update) error {
	d := &delivery{writer: w, target: t, since: time.Now()}
	for len(batch) > 0 {
		var err error
		if batch, err = d.reread(ctx, batch); err != nil || len(batch) == 0 {
			return err
		}
		results, after, err := d.post(ctx, batch)
		tooLarge := statusOf(err) == http.StatusRequestEntityTooLarge
		switch {
		case tooLarge && len(batch) > 1:
			if err := w.write(ctx, t, batch[:len(batch)/2]); err != nil {
				return err
			}
			batch = batch[len(batch)/2:]
			continue
		case tooLarge:
			return d.refuse(batch[0], elastic.Error{Status: statusOf(err), Type: "request_entity_too_large"})
		case err != nil && !passes(err):
			return err
		}
		left := batch
		if err == nil {
			if left, err = d.settle(batch, results); isFinal(err) {
				return err
			}
		}
		if err != nil {
			d.count(func(c *Counts) { c.Retried += int64(len(left)) })
		}
		if err := d.pause(ctx, err, after, len(left) < len(batch)); err != nil {
			return err
		}
		batch = left
	}
	return nil
}

// A stopError ends the job.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

func isFinal(err error) bool {
	var stop stopError
	var blocked *blockedError
	return errors.As(err, &stop) || errors.As(err, &blocked)
}

// pause waits after trouble that passes.
func (d *delivery) pause(ctx context.Context, trouble error, after time.Duration, progress bool) error {
	d.adapt(trouble != nil)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if progress || trouble == nil {
		d.since, d.tries = time.Now(), 0
	}
	if trouble == nil {
		d.trouble = 0
		return nil
	}
	if errors.Is(trouble, elastic.ErrMalformed) {
		if d.trouble++; d.trouble == maxTrouble {
			return fmt.Errorf("%d times in a row: %w", d.trouble, trouble)
		}
	}
	if time.Since(d.since) > d.job.Patience {
		return fmt.Errorf("the server was waited for for %s: %w", d.job.Patience, trouble)
	}
	wait := cmp.Or(after, elastic.Backoff(d.tries))
	var answer *elastic.Error
	if errors.As(trouble, &answer) && answer.Flooded() {
		wait = elastic.FloodPause
	}
	d.tries++
	return elastic.Sleep(ctx, wait)
}

// appendTo appends the two lines of the bulk API.
func (u *update) appendTo(body *bytes.Buffer) error {
	type action struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Routing string `json:"routing,omitempty"`
		SeqNo   int64  `json:"if_seq_no"`
		Term    int64  `json:"if_primary_term"`
	}
	name := "update"
	if u.whole {
		name = "index"
	}
	line, err := json.Marshal(map[string]action{name: {u.Index, u.ID, u.Routing, *u.SeqNo, u.PrimaryTerm}})
	if err != nil {
		return err
	}
	body.Write(line)
	body.WriteByte('\n')
	if u.whole {
		body.Write(u.doc)
	} else {
		body.WriteString(`{"doc":`)
		body.Write(u.doc)
		body.WriteByte('}')
	}
	body.WriteByte('\n')
	return nil
}

// A result is what the server says of one item.
type result struct {
	Status int
	Result string
	Error  *struct {
		Type, Reason string
		Cause        struct{ Reason string } `json:"caused_by"`
	}
}

func (r *result) err() *elastic.Error {
	e := &elastic.Error{Status: r.Status}
	if r.Error != nil {
		e.Type, e.Reason = r.Error.Type, r.Error.Reason
		if cause := r.Error.Cause.Reason; cause != "" && !strings.Contains(e.Reason, cause) {
			e.Reason += ": " + cause
		}
	}
	return e
}

// post sends a batch. It goes on for a while after ctx is done, so that what was written is known.
func (w *writer) post(ctx context.Context, batch []*update) (results []result, after time.Duration, err error) {
	var body bytes.Buffer
	for _, u := range batch {
		u.attempts++
		if err := u.appendTo(&body); err != nil {
			return nil, 0, err
		}
	}
	w.count(func(c *Counts) { c.Requests++ })
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	answer, err := w.job.server.Do(patient, http.MethodPost, "/_bulk", nil, body.Bytes())
	if err != nil {
		return nil, 0, err
	}
	if err := answer.Err(); err != nil {
		return nil, answer.RetryAfter(), err
	}
	var items struct{ Items []map[string]result }
	if err := json.Unmarshal(answer.Body, &items); err != nil {
		return nil, 0, fmt.Errorf("%w: %v", elastic.ErrMalformed, err)
	}
	if len(items.Items) != len(batch) {
		return nil, 0, fmt.Errorf("%w: %d items for %d documents", elastic.ErrMalformed, len(items.Items), len(batch))
	}
	for _, item := range items.Items {
		for _, r := range item {
			results = append(results, r)
		}
	}
	if len(results) != len(batch) {
		return nil, 0, fmt.Errorf("%w: items that are none", elastic.ErrMalformed)
	}
	return results, 0, nil
}

// settle notes what became of a batch, and returns what is to be sent again: with an error when the server was busy, and
// without one when documents have to be read again. Other errors end the index, or the job.
func (d *delivery) settle(batch []*update, results []result) (left []*update, trouble error) {
	for i, u := range batch {
		r := &results[i]
		e := r.err()
		switch {
		case r.Status/100 == 2 && r.Result == "noop":
			d.count(func(c *Counts) { c.Unchanged++ })
		case r.Status/100 == 2:
			d.count(func(c *Counts) { c.Updated++ })
		case r.Status == http.StatusConflict && u.conflicts < maxConflicts:
			u.conflicts++
			u.read = true
			d.count(func(c *Counts) { c.Conflicts++ })
			left = append(left, u)
		case r.Status == http.StatusNotFound:
			d.count(func(c *Counts) { c.Gone++ })
		case e.Flooded(), isBusy(r.Status):
			left, trouble = append(left, u), e
		case e.Type == "cluster_block_exception":
			return nil, &blockedError{*e}
		case e.Type == "security_exception":
			return nil, stopError{fmt.Errorf("documents of %s may not be updated: %w", u.Index, e)}
		case strings.Contains(e.Reason, "Update is not supported"):
			return nil, stopError{fmt.Errorf("%w: the server allows no partial updates here; documents can be written whole by a user who may see all of their fields", e)}
		default:
			if err := d.refuse(u, *e); err != nil {
				return nil, stopError{err}
			}
		}
	}
	return left, trouble
}

// refuse hands an update to the dead letters.
func (d *delivery) refuse(u *update, e elastic.Error) error {
	d.count(func(c *Counts) { c.DeadLetters++ })
	if d.job.DeadLetters == nil {
		return nil
	}
	return d.job.DeadLetters(Letter{time.Now(), u.Index, u.ID, e, u.attempts, u.doc})
}

// reread reads those of a batch again that need it, and decides anew. It returns those that are to be written.
func (d *delivery) reread(ctx context.Context, batch []*update) (left []*update, err error) {
	type wanted struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Routing string `json:"routing,omitempty"`
	}
	var again []*update
	var request struct {
		Docs []wanted `json:"docs"`
	}
	for _, u := range batch {
		if !u.read {
			left = append(left, u)
			continue
		}
		again = append(again, u)
		request.Docs = append(request.Docs, wanted{u.Index, u.ID, u.Routing})
	}
	if len(again) == 0 {
		return left, nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	answer, err := d.job.server.do(ctx, http.MethodPost, "/_mget", url.Values{"realtime": {"true"}}, body)
	if err != nil {
		return nil, err
	}
	var got struct{ Docs []hit }
	if err := json.Unmarshal(answer, &got); err != nil || len(got.Docs) != len(again) {
		return nil, fmt.Errorf("%w: %d documents instead of %d (%v)", elastic.ErrMalformed, len(got.Docs), len(again), err)
	}
	for i, u := range again {
		if !got.Docs[i].Found {
			d.count(func(c *Counts) { c.Gone++ })
			continue
		}
		u.hit, u.partial = got.Docs[i], false
		switch changed, err := d.job.decide(u, d.target); {
		case err != nil:
			return nil, err
		case changed:
			left = append(left, u)
		default:
			d.count(func(c *Counts) { c.Unchanged++ })
		}
	}
	return left, nil
}
