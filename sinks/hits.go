// Package sinks holds where events and what was found go beside the lines themselves.
package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	// gatherFor is how long the events of a new record are gathered before it is written.
	gatherFor = 2 * time.Second

	// maxRecords bounds the records of the hour that are held; maxQueued those that wait to be posted.
	maxRecords, maxQueued = 65_536, 1_000

	// A post is tried maxTries times, with pauses from firstPause, doubled each time.
	maxTries, firstPause = 5, 500 * time.Millisecond
	postTimeout          = 10 * time.Second
)

// A Place is where an event stands.
type Place struct {
	Time time.Time `json:"time"`
	File string    `json:"file,omitempty"`
	Line int64     `json:"line,omitempty"`
}

// A Hit is one event, or several, in which a host met a malicious indicator.
type Hit struct {
	Key         extract.Key
	Finding     intel.Finding
	Host        string // or user, or source; empty when the events do not tell
	Events      int64
	First, Last Place
	Late        bool // the verdict came after the events had left
}

// record is a Hit as it is written: one for each indicator, host and hour.
type record struct {
	Indicator string   `json:"indicator"`
	Type      string   `json:"type"`
	Verdict   string   `json:"verdict"`
	Source    string   `json:"source"`
	Hosts     []string `json:"hosts"`
	Events    int64    `json:"events"`
	First     Place    `json:"first"`
	Last      Place    `json:"last"`
	Late      bool     `json:"late"`
}

// A slot is what makes hits one record.
type slot struct {
	key  extract.Key
	host string
	hour int64 // since 1970, of the event
}

// held is a hit of the hour: gathered until it is written, and remembered until the hour has passed, so that it is
// written once.
type held struct {
	Hit
	begun   time.Time
	written bool
}

// Hits writes what was malicious, and who met it: one JSON line, or one POST, for each indicator, host and hour, within
// seconds of the first meeting. Later events of the same hour change nothing. It is safe for concurrent use, and Meet
// waits for nobody.
type Hits struct {
	deliver func(context.Context, Hit) error
	warn    func(error)
	now     func() time.Time

	mu      sync.Mutex
	records map[slot]*held
	lost    int64

	queue chan Hit
	done  chan struct{} // closed when everything was delivered, or given up
	stop  chan struct{}
}

// OpenHits opens a file, which is appended to, or prepares to post to an http or https URL. warn is told of what could
// not be delivered, once for each change.
func OpenHits(dest string, isURL bool, warn func(error)) (*Hits, error) {
	var deliver func(context.Context, []byte) error
	if isURL {
		deliver = poster(dest, &http.Client{Timeout: postTimeout, CheckRedirect: stay})
	} else {
		file, err := os.OpenFile(dest, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return nil, err
		}
		deliver = func(_ context.Context, line []byte) error {
			_, err := file.Write(line)
			return err
		}
	}
	return NewHits(func(ctx context.Context, h Hit) error { return deliver(ctx, h.line()) },
		func(err error) { warn(fmt.Errorf("--hits: %w", err)) }), nil
}

// NewHits returns hits that deliver takes, one call at a time. warn is told of what it does not take, once for each
// change.
func NewHits(deliver func(context.Context, Hit) error, warn func(error)) *Hits {
	h := &Hits{deliver: deliver, warn: warn, now: time.Now, records: make(map[slot]*held), queue: make(chan Hit, maxQueued),
		done: make(chan struct{}), stop: make(chan struct{})}
	go h.gather()
	return h
}

// Meet notes a hit. What it keeps is copied.
func (h *Hits) Meet(hit Hit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slot{hit.Key, hit.Host, hit.First.Time.Unix() / 3600}
	r, ok := h.records[at]
	switch {
	case ok && r.written:
	case ok:
		r.Events += hit.Events
		r.Last = hit.Last
		r.Late = r.Late && hit.Late
	case len(h.records) >= maxRecords:
		h.lost++
	default:
		at.key, at.host = at.key.Clone(), string([]byte(at.host))
		hit.Key, hit.Host = at.key, at.host
		h.records[at] = &held{Hit: hit, begun: h.now()}
	}
}

// line returns the hit as JSON.
func (h *Hit) line() []byte {
	r := record{h.Key.Value, h.Key.Type.String(), h.Finding.Verdict.String(), h.Finding.Source, []string{}, h.Events, h.First, h.Last, h.Late}
	if h.Host != "" {
		r.Hosts = []string{h.Host}
	}
	line, err := json.Marshal(r)
	if err != nil { // strings, numbers and times always marshal
		panic(err)
	}
	return append(line, '\n')
}

// gather queues records that are due, and delivers them on a goroutine of its own, until Close.
func (h *Hits) gather() {
	delivered := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(delivered)
		h.deliverAll(ctx)
	}()
	tick := time.NewTicker(gatherFor / 4)
	defer tick.Stop()
	for open := true; open; {
		select {
		case <-tick.C:
			h.flush(h.now().Add(-gatherFor))
		case <-h.stop:
			h.flush(h.now())
			open = false
		}
	}
	close(h.queue)
	select {
	case <-delivered:
	case <-time.After(postTimeout):
		cancel()
		<-delivered
	}
	cancel()
	close(h.done)
}

// flush queues the records that were begun by then, and forgets those of hours that have passed.
func (h *Hits) flush(then time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, r := range h.records {
		if !r.written && !r.begun.After(then) {
			r.written = true
			h.enqueue(r.Hit)
		}
		if r.written && then.Sub(r.begun) > time.Hour {
			delete(h.records, at)
		}
	}
}

func (h *Hits) enqueue(hit Hit) {
	select {
	case h.queue <- hit:
	default:
		h.lost++
	}
}

// deliverAll delivers the queue. It warns when deliveries begin to fail.
func (h *Hits) deliverAll(ctx context.Context) {
	failing := false
	for hit := range h.queue {
		err := h.deliver(ctx, hit)
		if err != nil {
			h.mu.Lock()
			h.lost++
			h.mu.Unlock()
			if !failing {
				h.warn(err)
			}
		}
		failing = err != nil
	}
}

// Close writes what has been gathered, waits for posts up to ten seconds, and returns how many records were lost.
func (h *Hits) Close() (lost int64) {
	close(h.stop)
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// poster returns what posts a record to url, again after a failure that may pass.
func poster(url string, client *http.Client) func(context.Context, []byte) error {
	return func(ctx context.Context, line []byte) (err error) {
		pause := firstPause
		for try := 0; ; try++ {
			var again bool
			if again, err = post(ctx, client, url, line); err == nil || !again || try+1 == maxTries {
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return err
			}
			pause *= 2
		}
	}
}

// stay follows no redirect: a hit is for the ears of the one who was named.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// post makes one request; again says that it may succeed later.
func post(ctx context.Context, client *http.Client, url string, line []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(line))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return true, errors.Unwrap(err) // without the URL, which may hold a token
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("%s answered %s", req.URL.Host, resp.Status)
	}
	return false, nil
}
