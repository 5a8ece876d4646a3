package enrich

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/sinks/elastic"
)

const (
	// maxLate bounds the indicators whose documents wait to be updated.
	maxLate = 65_536

	// lateBatch is how many of them one search names.
	lateBatch = 1000

	// lateEvery is how often stored documents are updated; quietFor is how long after a verdict at the earliest, so that the events
	// that left just before it are stored. Where the server may not be asked to show what was stored (_refresh), it is
	// waited for: usual settings show it within half a minute.
	lateEvery, quietFor, unshownFor = 10 * time.Second, 5 * time.Second, 35 * time.Second

	// LateMargin is how much older than the first event that is known stored documents may be: clocks differ, and events
	// state their time in more than one place.
	LateMargin = time.Hour

	// maxTold bounds what people are told.
	maxTold = 100

	// maxNames bounds the names of indices in one request, in bytes.
	maxNames = 2048
)

// LateOptions say what a [Late] works on.
type LateOptions struct {
	Indices   func() []string // of the run, by the names that documents were sent to
	Scanner   extract.Scanner
	Know      Knowledge
	Annotator *annotate.Annotator
	PerSecond float64       // documents written, at most; 0 for as many as the server takes
	Patience  time.Duration // 0 means DefaultPatience

	// Settled calls its argument once all documents that are under way are stored, or refused; nil when that is not known.
	Settled func(func())

	Note func(string) // gets what people should know; may be nil
}

// A Late updates stored documents for verdicts that came after their events had left. It keeps no documents in memory: it
// finds them by related.*, which holds all indicators of an event. It is safe for concurrent use, and nothing that goes
// wrong in it touches the events on their way.
type Late struct {
	LateOptions
	server Server

	mu      sync.Mutex
	pending map[extract.Key]lateKey
	lost    int64
	counts  Counts
	unshown bool // the server may not be asked to show what was stored

	alerts   annotate.Annotator // of late hits; used by one call of Hit at a time
	prepared bool               // HitStream was looked at
}

type lateKey struct{ since, due time.Time }

// NewLate returns a Late that has nothing to do yet.
func NewLate(s Server, o LateOptions) *Late {
	note, told := o.Note, make(map[string]bool)
	o.Note = func(text string) { // what is said of an index would be said with each round
		if note != nil && !told[text] && len(told) < maxTold {
			told[text] = true
			note(text)
		}
	}
	if o.Settled == nil {
		o.Settled = func(f func()) { f() }
	}
	l := &Late{LateOptions: o, server: s, pending: make(map[extract.Key]lateKey), alerts: *annotate.New()}
	l.alerts.MaxRelated = o.Annotator.MaxRelated
	return l
}

// relatedField returns the field by which documents with an indicator of that type are found; empty when there is none.
func relatedField(t extract.Type) string {
	switch {
	case t == extract.IP:
		return "related.ip"
	case t == extract.Domain:
		return "related.hosts"
	case t.IsHash():
		return "related.hash"
	}
	return ""
}

// Update has stored documents updated that hold key and are not older than the first event that did. It does not wait.
// There is no way to find those with e-mail addresses and detection names.
func (l *Late) Update(key extract.Key, first time.Time) {
	if relatedField(key.Type) == "" {
		return
	}
	key = key.Clone()
	l.Settled(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		was, again := l.pending[key]
		if !again && len(l.pending) >= maxLate {
			l.lost++
			return
		}
		if again && was.since.Before(first) {
			first = was.since
		}
		quiet := quietFor
		if l.unshown {
			quiet = unshownFor
		}
		l.pending[key] = lateKey{first, time.Now().Add(quiet)}
	})
}

// Run updates documents until ctx is done.
func (l *Late) Run(ctx context.Context) {
	tick := time.NewTicker(lateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l.round(ctx, now)
		}
	}
}

// Finish updates what is left, due or not, once all documents are stored. It returns what was done in all, and for how
// many verdicts documents were not updated.
func (l *Late) Finish(ctx context.Context) (c Counts, lost int64) {
	if l.waiting() > 0 && l.unshown {
		_ = elastic.Sleep(ctx, quietFor) // then ctx is done, and so is the round
	}
	for l.waiting() > 0 && ctx.Err() == nil {
		l.round(ctx, time.Now().Add(unshownFor))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts, l.lost + int64(len(l.pending))
}

func (l *Late) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// round updates the documents for verdicts that are due.
func (l *Late) round(ctx context.Context, now time.Time) {
	keys, since := l.take(now)
	if len(keys) == 0 {
		return
	}
	for _, names := range l.indices() {
		if err := l.update(ctx, names, keys, since); err != nil {
			l.mu.Lock()
			l.lost += int64(len(keys))
			l.mu.Unlock()
			l.Note(fmt.Sprintf("stored documents were not updated for %d late verdicts: %v", len(keys), err))
			return
		}
	}
}

// take takes a batch of what is due off what is pending.
func (l *Late) take(now time.Time) (keys []extract.Key, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since = now
	for key, p := range l.pending {
		if p.due.After(now) || len(keys) == lateBatch {
			continue
		}
		if p.since.Before(since) {
			since = p.since
		}
		keys = append(keys, key)
		delete(l.pending, key)
	}
	return keys, since
}

// indices returns the names of the run's indices, as many of them together as a request may name.
func (l *Late) indices() (lists []string) {
	for _, name := range l.Indices() {
		if n := len(lists); n > 0 && len(lists[n-1])+len(name) < maxNames {
			lists[n-1] += "," + name
		} else {
			lists = append(lists, name)
		}
	}
	return lists
}

// update updates the documents of some indices that hold one of the keys.
func (l *Late) update(ctx context.Context, names string, keys []extract.Key, since time.Time) error {
	answer, err := l.server.Do(ctx, http.MethodPost, "/"+escapeList(names)+"/_refresh", nil, nil)
	if err == nil && answer.Err() != nil {
		l.mu.Lock()
		l.unshown = true
		l.mu.Unlock()
	}
	job, err := Open(ctx, l.server, Options{Index: names, Query: lateQuery(keys), Since: since.Add(-LateMargin), Scanner: l.Scanner,
		Know: l.Know, Annotator: l.Annotator, PerSecond: l.PerSecond, MaxInFlight: 1, Patience: l.Patience, Note: l.Note})
	if err != nil {
		return err
	}
	left := job.Left()
	err = job.Apply(ctx)
	if err == nil && job.Left() > left {
		err = errors.New("an index cannot be written")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := job.Counts()
	l.counts.Read += c.Read
	l.counts.Updated += c.Updated
	l.counts.Unchanged += c.Unchanged
	l.counts.Conflicts += c.Conflicts
	l.counts.DeadLetters += c.DeadLetters
	if c.DeadLetters > 0 {
		l.lost++
	}
	return err
}

// lateQuery is the query for documents that hold one of the keys.
func lateQuery(keys []extract.Key) []byte {
	values := make(map[string][]string)
	for _, key := range keys {
		field := relatedField(key.Type)
		values[field] = append(values[field], key.Value)
	}
	var holds []any
	for field, values := range values {
		holds = append(holds, map[string]any{"terms": map[string]any{field: values}})
	}
	query, err := json.Marshal(map[string]any{"bool": map[string]any{"should": holds, "minimum_should_match": 1}})
	if err != nil { // strings always marshal
		panic(err)
	}
	return query
}

// HitStream is the data stream of late hits.
const HitStream = "logs-iocpipe.hits-default"

// A LateHit is a host that met something malicious, in an hour, before anybody here knew.
type LateHit struct {
	Key         extract.Key
	Finding     intel.Finding
	Host        string // empty when the events do not tell
	Events      int64
	First, Last any // where they stand; marshalled as JSON
	From, To    time.Time
}

// Hit stores a document about a late hit: an alert with the indicator and its answer, who met it, how often, and how to find
// // the events. One that is stored already is left alone. Its _id says indicator, host and hour. It is for one goroutine.
func (l *Late) Hit(ctx context.Context, h LateHit) error {
	if !l.prepared {
		_, _, err := l.server.Prepare(ctx, HitStream) // where it cannot be, the one entry of a hit loses nothing in a plain object
		l.prepared = err == nil
	}
	id := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%s\x00%s\x00%d", h.Key.Type, h.Key.Value, h.Host, h.From.Unix()/3600)))
	var body []byte
	body = append(body, `{"create":{"_index":"`+HitStream+`","_id":"`+base64.RawURLEncoding.EncodeToString(id[:15])+"\"}}\n"...)
	body = append(l.appendHit(body, h), '\n')
	answer, err := (&server{l.server, time.Minute}).do(ctx, http.MethodPost, "/_bulk", url.Values{}, body)
	if err != nil {
		return err
	}
	var items struct{ Items []map[string]result }
	if err := json.Unmarshal(answer, &items); err != nil || len(items.Items) != 1 {
		return fmt.Errorf("the answer is no answer to one document (%v)", err)
	}
	r := items.Items[0]["create"]
	if r.Status/100 == 2 || r.Status == http.StatusConflict {
		return nil
	}
	return r.err()
}

// appendHit appends the document.
func (l *Late) appendHit(dst []byte, h LateHit) []byte {
	event := map[string]any{
		"@timestamp":  h.To.UTC().Format("2006-01-02T15:04:05.000Z"),
		"data_stream": map[string]string{"type": "logs", "dataset": "iocpipe.hits", "namespace": "default"},
		"event":       map[string]any{"kind": "alert", "category": []string{"intrusion_detection"}, "type": []string{"info"}, "dataset": "iocpipe.hits", "module": "iocpipe"},
		"message":     fmt.Sprintf("%s, met by %s, was found malicious later", h.Key.Value, orSomebody(h.Host)),
		"iocpipe": map[string]any{"hit": map[string]any{
			"indicator": h.Key.Value, "type": h.Key.Type.String(), "source": h.Finding.Source, "hosts": hostsOf(h.Host), "events": h.Events,
			"first": h.First, "last": h.Last, "late": true, "index": strings.Join(l.Indices(), ","), "query": findQuery(h),
		}},
	}
	if h.Host != "" {
		event["host"] = map[string]string{"name": h.Host}
	}
	bare, err := json.Marshal(event)
	if err != nil { // strings, numbers and places always marshal
		panic(err)
	}
	const marker = `"indicator":`
	from := strings.Index(string(bare), `"hit":{`)
	from += strings.Index(string(bare[from:]), marker) + len(marker) + 1
	value, _ := json.Marshal(h.Key.Value)
	match := extract.Match{Key: h.Key, Start: from, End: from + len(value) - 2, Field: "iocpipe.hit.indicator"}
	dst, _ = l.alerts.AppendJSON(dst, bare, []annotate.Hit{{Match: match, Finding: h.Finding}})
	return dst
}

// findQuery is a query in Kibana's language that finds the events.
func findQuery(h LateHit) string {
	span := fmt.Sprintf("@timestamp >= %q and @timestamp <= %q", h.From.UTC().Format(time.RFC3339), h.To.UTC().Add(time.Second).Format(time.RFC3339))
	if field := relatedField(h.Key.Type); field != "" {
		return fmt.Sprintf("%s : %q and %s", field, h.Key.Value, span)
	}
	return fmt.Sprintf("%q and %s", h.Key.Value, span)
}

func orSomebody(host string) string {
	if host == "" {
		return "somebody"
	}
	return host
}

func hostsOf(host string) []string {
	return slices.DeleteFunc([]string{host}, func(h string) bool { return h == "" })
}
