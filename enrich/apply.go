package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	hour = time.Hour

	// tries is how often a window is begun anew because the server has lost its place.
	tries = 5
)

// A window is a part of an index: the documents of some hours, or those without a time, or all.
type window struct {
	from, to  time.Time // from up to, not including, to; zero for the others
	untimed   bool
	documents int64
}

// Apply updates what something is known of. What goes wrong with an index is told, and it goes on with the next: what is
// left is counted by [Job.Left] and Counts.DeadLetters. The error is one that stops the job, which can be resumed.
func (j *Job) Apply(ctx context.Context) error {
	work := make(map[*Target][]window)
	for _, t := range j.Targets {
		if t.Refused != "" {
			j.notef("%s: left out: %s", t.Index, t.Refused)
			continue
		}
		if t.empty || t.progress.Done {
			continue
		}
		windows, err := j.windows(ctx, t)
		if err != nil {
			return fmt.Errorf("index %s: %w", t.Index, err)
		}
		work[t] = windows
		for _, w := range windows {
			j.total += w.documents
		}
	}
	for _, t := range j.Targets {
		if windows, ok := work[t]; ok {
			if err := j.applyTo(ctx, t, windows); err != nil {
				return err
			}
		}
	}
	return j.keep.finish()
}

// applyTo enriches one index, window by window.
func (j *Job) applyTo(ctx context.Context, t *Target, windows []window) error {
	for _, w := range windows {
		if err := j.prepare(ctx, t); err != nil {
			return err
		}
		var blocked *blockedError
		err := j.applyWindow(ctx, t, w)
		if errors.As(err, &blocked) {
			t.Refused = blocked.Error()
		}
		if t.Refused != "" {
			j.notef("%s: no further: %s", t.Index, t.Refused)
			return nil
		}
		if err != nil {
			return fmt.Errorf("index %s: %w", t.Index, err)
		}
		t.progress.pass(w)
		j.keep.Counts = j.writer.total()
		if err := j.keep.save(); err != nil {
			return err
		}
	}
	if len(windows) > 0 { // so that a search, and the next run, finds what was written
		_, _ = j.server.Do(ctx, http.MethodPost, "/"+url.PathEscape(t.Index)+"/_refresh", nil, nil) // it needs a right of its own
	}
	t.progress.Done = true
	return j.keep.save()
}

// applyWindow enriches the documents of a window, again from its beginning when the server has lost the place in it.
func (j *Job) applyWindow(ctx context.Context, t *Target, w window) error {
	done := j.done
	for try := 0; ; try++ {
		err := j.tryWindow(ctx, t, w)
		if !errors.Is(err, errContext) || try == tries {
			j.done = done + w.documents
			j.tell()
			return err
		}
		j.done = done
	}
}

// tryWindow reads a window and writes what changes. Reading is a page ahead of writing, and several bulk requests are
// under way at once.
func (j *Job) tryWindow(ctx context.Context, t *Target, w window) error {
	r := j.reading(t, filter(j.narrowed(t), w.query()))
	g, inside := errgroup.WithContext(ctx)
	pages := make(chan []hit, 1)
	g.Go(func() error {
		defer close(pages)
		return r.each(inside, func(hits []hit) error {
			select {
			case pages <- hits:
				return nil
			case <-inside.Done():
				return context.Cause(inside)
			}
		})
	})
	g.Go(func() error {
		for hits := range pages {
			updates, err := j.updates(t, hits)
			if err != nil {
				return err
			}
			for batch := range j.batches(updates) {
				if err := j.writer.acquire(inside, len(batch)); err != nil {
					return err
				}
				g.Go(func() error {
					defer j.writer.release()
					return j.writer.write(inside, t, batch)
				})
			}
			j.done += int64(len(hits))
			j.tell()
		}
		return nil
	})
	return g.Wait()
}

func (j *Job) tell() {
	if j.Progress != nil {
		j.Progress(j.done, max(j.total, j.done))
	}
}

// updates returns what is to be written of a page.
func (j *Job) updates(t *Target, hits []hit) (updates []*update, err error) {
	unchanged := int64(0)
	for i := range hits {
		u := &update{hit: hits[i], partial: len(j.Fields) > 0 && !j.Whole}
		changed, err := j.decide(u, t)
		if err != nil {
			return nil, err
		}
		if changed {
			updates = append(updates, u)
		} else {
			unchanged++
		}
	}
	j.writer.count(func(c *Counts) { c.Read += int64(len(hits)); c.Unchanged += unchanged })
	return updates, nil
}

// reading returns what reads the documents of t that match a query.
func (j *Job) reading(t *Target, query json.RawMessage) *reading {
	return &reading{server: j.server, target: t, query: query, source: j.sourceFields(), flavor: j.flavor, size: firstPage, readers: j.MaxInFlight}
}

// narrowed returns the query of the job, for those documents only that can hold something known where that can be told.
func (j *Job) narrowed(t *Target) json.RawMessage {
	values, n := t.known(j.Know)
	if !t.narrow || n > maxTerms {
		return j.query(t)
	}
	var holds []any
	for field, values := range values {
		for part := range slices.Chunk(values, termsOfClause) {
			holds = append(holds, map[string]any{"terms": map[string]any{field: part}})
		}
	}
	if j.Prune {
		holds = append(holds, map[string]any{"exists": map[string]string{"field": "iocpipe.matches"}})
	}
	return filter(j.query(t), map[string]any{"bool": map[string]any{"should": holds, "minimum_should_match": 1}})
}

// A query names so many values in one clause, and in all; of an index that holds more known ones all documents are read.
const termsOfClause, maxTerms = 10_000, 50_000

// nothing reports whether no document of t can hold something known.
func (j *Job) nothing(t *Target) bool {
	_, n := t.known(j.Know)
	return t.narrow && !j.Prune && n == 0
}

func (w window) query() json.RawMessage {
	var condition any
	switch {
	case w.untimed:
		condition = map[string]any{"bool": map[string]any{"must_not": map[string]any{"exists": map[string]string{"field": "@timestamp"}}}}
	case !w.from.IsZero():
		condition = map[string]any{"range": map[string]any{"@timestamp": map[string]any{
			"gte": w.from.UnixMilli(), "lt": w.to.UnixMilli(), "format": "epoch_millis"}}}
	default:
		return nil
	}
	query, _ := json.Marshal(condition) // numbers and strings always marshal
	return query
}

// windows returns the windows of t that are not done yet, in order: whole hours that hold documents, then those without
// a time.
func (j *Job) windows(ctx context.Context, t *Target) (windows []window, err error) {
	if j.nothing(t) {
		return nil, nil
	}
	query := j.narrowed(t)
	if !t.timed {
		n, err := j.count(ctx, t, query)
		if n == 0 {
			return nil, err
		}
		return []window{{documents: n}}, err
	}
	hours, err := j.hours(ctx, t, query)
	if statusOf(err) == http.StatusBadRequest { // a server without this aggregation
		n, err := j.count(ctx, t, query)
		return []window{{documents: n}}, err
	}
	if err != nil {
		return nil, err
	}
	for _, start := range slices.Sorted(maps.Keys(hours)) {
		from := time.UnixMilli(start).UTC()
		if !from.Before(t.progress.Before) {
			windows = appendHour(windows, from, hours[start], j.Window)
		}
	}
	untimed, err := j.count(ctx, t, filter(query, window{untimed: true}.query()))
	if untimed > 0 && !t.progress.Untimed {
		windows = append(windows, window{untimed: true, documents: untimed})
	}
	return windows, err
}

// appendHour adds an hour to the last window, or begins another when that would hold too much.
func appendHour(windows []window, from time.Time, documents, most int64) []window {
	if n := len(windows); n > 0 && windows[n-1].documents+documents <= most {
		windows[n-1].to = from.Add(hour)
		windows[n-1].documents += documents
		return windows
	}
	return append(windows, window{from: from, to: from.Add(hour), documents: documents})
}

// hours counts the documents that match, by hour: milliseconds since 1970.
func (j *Job) hours(ctx context.Context, t *Target, query json.RawMessage) (map[int64]int64, error) {
	composite := map[string]any{"size": bucketPage, "sources": []any{map[string]any{"h": map[string]any{
		"date_histogram": map[string]string{"field": "@timestamp", "fixed_interval": "1h"}}}}}
	request := map[string]any{"size": 0, "track_total_hits": false, "aggs": map[string]any{"h": map[string]any{"composite": composite}}}
	if query != nil {
		request["query"] = query
	}
	hours := make(map[int64]int64)
	for {
		var answer struct {
			Aggregations struct {
				H struct {
					After   json.RawMessage `json:"after_key"`
					Buckets []struct {
						Key   struct{ H int64 }
						Count int64 `json:"doc_count"`
					}
				}
			}
		}
		if err := j.ask(ctx, t, "/_search", request, &answer); err != nil {
			return nil, err
		}
		page := answer.Aggregations.H
		for _, b := range page.Buckets {
			hours[b.Key.H] += b.Count
		}
		if len(page.Buckets) < bucketPage || len(page.After) == 0 {
			return hours, nil
		}
		composite["after"] = page.After
	}
}
