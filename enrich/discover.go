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
	"strings"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/sinks/elastic"
)

// A Discovery is what a job will do, and what it costs.
type Discovery struct {
	Documents int64         // that match the query, in the indices that can be written
	Values    int           // distinct indicators in them; those that are nobody's business are not counted
	Known     int           // of them, known here
	Questions int           // of them, to be asked about
	Time      time.Duration // that asking takes within the budgets

	Counted, Scanned int // indices whose values were counted, and those whose documents were read for them
}

// An occurrence is a value of a field with an indicator about which something is, or may become, known.
type occurrence struct {
	field string // by which documents with it are found
	value string
	keys  []extract.Key
}

const (
	bucketPage = 1000 // distinct values that are counted at once

	// maxSightings bounds how often the scheduler is told of one indicator: what is in so many documents is frequent.
	maxSightings = 128

	// maxOccurrences bounds the values of an index that are remembered; one that has more is read whole.
	maxOccurrences = 500_000
)

// A census is what discovery has found so far.
type census struct {
	job    *Job
	seen   map[extract.Key]bool // whether it is known
	wanted map[extract.Key]lookup.Sighting
}

// Discover counts what the documents hold: by aggregations where all fields that are looked into can be counted, else by
// reading. It tells the scheduler, if there is one, of what is to be asked. What a job needs no question for is
// not counted unless all says so: its documents are read but once, by [Job.Apply]. The error is [ErrLimit] when there is more to ask than Options.MaxQuestions.
func (j *Job) Discover(ctx context.Context, all bool) (d Discovery, err error) {
	c := &census{j, make(map[extract.Key]bool), make(map[extract.Key]lookup.Sighting)}
	for _, t := range j.Targets {
		if t.Refused != "" || t.empty || t.progress.Done {
			continue
		}
		if t.Documents, err = j.count(ctx, t, j.query(t)); err != nil {
			return d, fmt.Errorf("index %s: %w", t.Index, err)
		}
		d.Documents += t.Documents
		switch counted, err := c.countAll(ctx, t); {
		case err != nil:
			return d, fmt.Errorf("index %s: %w", t.Index, err)
		case counted:
			d.Counted++
		case j.Scheduler == nil && !all, t.progress.started():
		default:
			d.Scanned++
			if err := c.scan(ctx, t); err != nil {
				return d, fmt.Errorf("index %s: %w", t.Index, err)
			}
		}
	}
	d.Values, d.Questions = len(c.seen), len(c.wanted)
	for _, known := range c.seen {
		if known {
			d.Known++
		}
	}
	d.Time = j.timeFor(slices.Collect(maps.Values(c.wanted)))
	if d.Questions > j.MaxQuestions {
		return d, fmt.Errorf("%w: %d, which would take %s; at most %d were allowed", ErrLimit, d.Questions, d.Time.Round(time.Minute), j.MaxQuestions)
	}
	return d, nil
}

// query returns the query that the documents of t must match, as JSON; nil for all.
func (j *Job) query(t *Target) json.RawMessage {
	var filters []any
	if len(j.Query) > 0 {
		filters = append(filters, json.RawMessage(j.Query))
	}
	if !j.Since.IsZero() {
		filters = append(filters, since(j.Since))
	}
	return filter(filters...)
}

func since(t time.Time) any {
	return map[string]any{"range": map[string]any{"@timestamp": map[string]any{"gte": t.UnixMilli(), "format": "epoch_millis"}}}
}

// filter returns the query for documents that match all of some; nil for no condition.
func filter(conditions ...any) json.RawMessage {
	conditions = slices.DeleteFunc(conditions, func(c any) bool {
		raw, ok := c.(json.RawMessage)
		return ok && len(raw) == 0
	})
	if len(conditions) == 0 {
		return nil
	}
	query, err := json.Marshal(map[string]any{"bool": map[string]any{"filter": conditions}})
	if err != nil { // Options.Query was checked
		panic(err)
	}
	return query
}

// count returns how many documents match.
func (j *Job) count(ctx context.Context, t *Target, query json.RawMessage) (n int64, err error) {
	var answer struct{ Count int64 }
	request := map[string]any{}
	if len(query) > 0 {
		request["query"] = query
	}
	err = j.ask(ctx, t, "/_count", request, &answer)
	return answer.Count, err
}

// ask sends a request about an index and decodes the answer.
func (j *Job) ask(ctx context.Context, t *Target, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	got, err := j.server.do(ctx, http.MethodPost, "/"+url.PathEscape(t.Index)+path, nil, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("%w: %v", elastic.ErrMalformed, err)
	}
	return nil
}

// countAll counts the values of all fields of t, if that can be done.
func (c *census) countAll(ctx context.Context, t *Target) (counted bool, err error) {
	if t.scanned {
		return false, nil
	}
	if hidden, err := c.hidden(ctx, t); err != nil || hidden {
		t.scanned = true
		return false, err
	}
	for _, f := range t.fields {
		err := c.countField(ctx, t, f)
		if statusOf(err) == http.StatusBadRequest { // a server without this aggregation
			t.scanned, t.found = true, nil
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	t.narrow = len(t.found) <= maxOccurrences
	return true, nil
}

// hidden reports whether values were too long for the fields by which they would be counted.
func (c *census) hidden(ctx context.Context, t *Target) (bool, error) {
	var names []string
	for _, f := range t.fields {
		names = append(names, f.terms)
	}
	n, err := c.job.count(ctx, t, filter(c.job.query(t), map[string]any{"terms": map[string]any{"_ignored": names}}))
	return n > 0, err
}

// countField counts the values of one field, a page at a time.
func (c *census) countField(ctx context.Context, t *Target, f field) error {
	composite := map[string]any{"size": bucketPage, "sources": []any{map[string]any{"v": map[string]any{"terms": map[string]string{"field": f.terms}}}}}
	request := map[string]any{"size": 0, "track_total_hits": false, "aggs": map[string]any{"v": map[string]any{"composite": composite}}}
	if query := c.job.query(t); query != nil {
		request["query"] = query
	}
	for {
		var answer struct {
			Aggregations struct {
				V struct {
					After   json.RawMessage `json:"after_key"`
					Buckets []struct {
						Key   struct{ V any }
						Count int64 `json:"doc_count"`
					}
				}
			}
		}
		if err := c.job.ask(ctx, t, "/_search", request, &answer); err != nil {
			return err
		}
		page := answer.Aggregations.V
		for _, b := range page.Buckets {
			if value, ok := b.Key.V.(string); ok {
				c.meetValue(t, f, value, b.Count)
			}
		}
		if len(page.Buckets) < bucketPage || len(page.After) == 0 {
			return nil
		}
		composite["after"] = page.After
	}
}

// meetValue notes a value that is in a number of documents.
func (c *census) meetValue(t *Target, f field, value string, documents int64) {
	event, err := json.Marshal(map[string]string{f.name: value})
	if err != nil { // a string always marshals
		panic(err)
	}
	var keys []extract.Key
	m := &c.job.merger
	m.mu.Lock()
	defer m.mu.Unlock()
	m.matches, _ = m.scanner.AppendEvent(m.matches[:0], event)
	for _, match := range m.matches {
		key := match.Key.Clone()
		if c.meet(key, extract.Context{}, documents) {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 && len(t.found) <= maxOccurrences {
		t.found = append(t.found, occurrence{f.terms, value, keys})
	}
}

// meet notes an indicator that is in a number of documents. It reports whether something is or may become known of it.
func (c *census) meet(key extract.Key, context extract.Context, documents int64) bool {
	now := time.Now()
	found, skip := c.job.Know.Find(key, now)
	known := found.Verdict != intel.NoVerdict && skip != extract.Allowed
	if !known && skip != extract.Worth {
		return false
	}
	c.seen[key] = known
	if c.job.Scheduler == nil {
		return known
	}
	sighting, wanted := c.job.Know.Wanted(key, now)
	if !wanted {
		return known || found.Verdict == intel.NoVerdict // an answer that came by another may relate it yet
	}
	c.wanted[key] = sighting
	sighting.Context = context
	if len(c.wanted) <= c.job.MaxQuestions {
		c.job.Scheduler.Want(slices.Repeat([]lookup.Sighting{sighting}, int(min(documents, maxSightings)))...)
	}
	return true
}

// scan reads the documents of t for what they hold.
func (c *census) scan(ctx context.Context, t *Target) error {
	r := c.job.reading(t, c.job.query(t))
	var mu sync.Mutex
	read := int64(0)
	return r.each(ctx, func(hits []hit) error {
		mu.Lock()
		defer mu.Unlock()
		for i := range hits {
			c.meetDocument(hits[i].Source)
		}
		read += int64(len(hits))
		if c.job.Progress != nil {
			c.job.Progress(read, t.Documents)
		}
		return ctx.Err()
	})
}

func (c *census) meetDocument(source []byte) {
	m := &c.job.merger
	m.mu.Lock()
	defer m.mu.Unlock()
	m.matches, _ = m.scanner.AppendEvent(m.matches[:0], source)
	context := extract.ReadContext(source, m.matches)
	for i, match := range m.matches {
		if !slices.ContainsFunc(m.matches[:i], func(o extract.Match) bool { return o.Key == match.Key }) {
			c.meet(match.Key.Clone(), context, 1)
		}
	}
}

// timeFor returns how long asking takes, within the budgets of the sources, which are asked side by side.
func (j *Job) timeFor(sightings []lookup.Sighting) (longest time.Duration) {
	for i, source := range j.Sources {
		n := 0
		for _, s := range sightings {
			if source.Types.Has(s.Key.Type) && !s.Held.Has(i) {
				n++
			}
		}
		seconds := float64(max(0, n-source.Burst)) / float64(source.Rate)
		longest = max(longest, time.Duration(seconds*float64(time.Second)))
	}
	return longest
}

// known returns the values of which something is known, by field, and how many there are.
func (t *Target) known(know Knowledge) (values map[string][]string, n int) {
	now := time.Now()
	values = make(map[string][]string)
	for _, o := range t.found {
		if slices.ContainsFunc(o.keys, func(key extract.Key) bool {
			found, skip := know.Find(key, now)
			return found.Verdict != intel.NoVerdict && skip != extract.Allowed
		}) {
			values[o.field] = append(values[o.field], o.value)
			n++
		}
	}
	return values, n
}

// ErrSources says that asking was given up because no source answered.
var ErrSources = errors.New("no source answers")

const (
	askTick  = 50 * time.Millisecond
	silentIs = 5 * time.Minute // how long no source may answer, while all are down
)

// Ask asks about what was discovered, the most telling first, until nothing waits or the time is over; 0 is without end.
// It returns how many questions are left.
func (j *Job) Ask(ctx context.Context, limit time.Duration) (left int, err error) {
	s := j.Scheduler
	if s == nil || s.Waiting() == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx) // it ends only with ctx
	}()
	defer func() { cancel(); <-ended }()
	tick := time.NewTicker(askTick)
	defer tick.Stop()
	began, heard, answers := time.Now(), time.Now(), -1
	for {
		stats := s.Stats()
		asked, up := answeredBy(stats, s.Health())
		if asked != answers || up {
			answers, heard = asked, time.Now()
		}
		left = stats.Waiting + stats.InFlight
		if j.Asking != nil {
			j.Asking(asked, left)
		}
		switch {
		case left == 0, limit > 0 && time.Since(began) >= limit:
			return left, nil
		case time.Since(heard) >= silentIs:
			return left, fmt.Errorf("%w: %s", ErrSources, strings.Join(sourceNames(j.Sources), ", "))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return left, context.Cause(ctx)
		}
	}
}

// answeredBy returns how many questions were answered, and whether a source is up.
func answeredBy(stats lookup.Stats, health []lookup.Health) (answered int, up bool) {
	for _, source := range stats.Sources {
		answered += int(source.Asked() - source.Failed)
	}
	return answered, slices.ContainsFunc(health, func(h lookup.Health) bool { return h.Up })
}

func sourceNames(sources []lookup.Source) (names []string) {
	for _, s := range sources {
		names = append(names, s.Name)
	}
	return names
}
