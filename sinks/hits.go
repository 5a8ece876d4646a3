// Package sinks holds where events and what was found go beside the lines themselves.
package sinks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	// gatherFor is how long the events of a new record are gathered before it is delivered.
	gatherFor = 2 * time.Second

	// maxRecords bounds the records that are held: those that wait to be delivered, and those of the last hour.
	maxRecords = 65_536

	// After a failure that may pass, deliveries pause, twice as long after each, and are tried again for keptFor.
	firstPause, maxPause = 500 * time.Millisecond, time.Minute
	keptFor              = time.Hour

	// tellAfter is how many failures in a row are worth a word: five take some eight seconds.
	tellAfter = 5

	// closeFor bounds what Close waits for, postTimeout a single post.
	closeFor, postTimeout = 10 * time.Second, 10 * time.Second
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
	ID        string   `json:"id"` // the same wherever the same is told again
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

// id names the slot to those who get its record twice: from another process, after a restart, or because the answer to
// a post was lost.
func (s slot) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%d", s.key.Type, s.key.Value, s.host, s.hour))
	return hex.EncodeToString(sum[:16])
}

// held is a record of the hour: gathered until it is delivered, and remembered until the hour has passed, so that it is
// delivered once.
type held struct {
	Hit
	begun time.Time
	done  bool
}

// A Deliverer delivers the hits of one indicator, host and hour as one, whose id is the same wherever the same is told
// again; passing says of an error that the next try may succeed.
type Deliverer func(ctx context.Context, id string, h Hit) (passing bool, err error)

// A carrier delivers a record, which is one line.
type carrier interface {
	deliver(ctx context.Context, id string, line []byte) (passing bool, err error)
}

// lines returns what delivers hits as lines of c.
func lines(c carrier) Deliverer {
	return func(ctx context.Context, id string, h Hit) (passing bool, err error) {
		return c.deliver(ctx, id, h.line(id))
	}
}

// Hits delivers what was malicious, and who met it: one JSON line, or one POST, for each indicator, host and hour, within
// seconds of the first meeting. Later events of the same hour change nothing. A file's records are not written again by
// other processes, nor after a restart. It is safe for concurrent use, and Meet waits for nobody.
type Hits struct {
	to   Deliverer
	tell func(error)
	now  func() time.Time

	mu      sync.Mutex
	records map[slot]*held
	lost    int64

	failures int  // in a row; used by run alone, like told
	told     bool // that deliveries fail

	ctx    context.Context // of deliveries
	giveUp context.CancelFunc
	stop   chan struct{}
	done   chan struct{} // closed when everything was delivered, or given up
}

// OpenHits opens a file, which is appended to, or prepares to post to an http or https URL. tell gets an error when
// deliveries fail, once, and nil when they work again.
func OpenHits(dest string, isURL bool, tell func(error)) (*Hits, error) {
	var c carrier = &poster{dest, http.Client{Timeout: postTimeout, CheckRedirect: stay}}
	if !isURL {
		var err error
		if c, err = openCarrier(dest); err != nil {
			return nil, err
		}
	}
	return NewHits(lines(c), func(err error) {
		if err != nil {
			err = fmt.Errorf("--hits: %w", err)
		}
		tell(err)
	}), nil
}

// NewHits returns hits that to delivers, one call at a time. tell is as for [OpenHits].
func NewHits(to Deliverer, tell func(error)) *Hits {
	h := &Hits{to: to, tell: tell, now: time.Now, records: make(map[slot]*held), done: make(chan struct{}), stop: make(chan struct{})}
	h.ctx, h.giveUp = context.WithCancel(context.Background())
	go h.run()
	return h
}

// Meet notes a hit. What it keeps is copied.
func (h *Hits) Meet(hit Hit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slot{hit.Key, hit.Host, hit.First.Time.Unix() / 3600}
	r, ok := h.records[at]
	switch {
	case ok && r.done:
	case ok:
		r.Events += hit.Events
		r.Last = hit.Last
		r.Late = r.Late && hit.Late
	case h.full():
		h.lost++
	default:
		at.key, at.host = at.key.Clone(), string([]byte(at.host))
		hit.Key, hit.Host = at.key, at.host
		h.records[at] = &held{Hit: hit, begun: h.now()}
	}
}

// Lose counts n hits of which too much would have had to be remembered.
func (h *Hits) Lose(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost += n
}

// Lost returns how many records were lost so far.
func (h *Hits) Lost() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// full reports whether there is no room for another record. It rather forgets what was told than what was not.
func (h *Hits) full() bool {
	if len(h.records) >= maxRecords {
		h.forget(func(r *held) bool { return r.done })
	}
	return len(h.records) >= maxRecords
}

func (h *Hits) forget(which func(*held) bool) (n int64) {
	for at, r := range h.records {
		if which(r) {
			delete(h.records, at)
			n++
		}
	}
	return n
}

// line returns the hit as one line of JSON.
func (h *Hit) line(id string) []byte {
	r := record{id, h.Key.Value, h.Key.Type.String(), h.Finding.Verdict.String(), h.Finding.Source, []string{}, h.Events,
		h.First, h.Last, h.Late}
	if h.Host != "" {
		r.Hosts = []string{h.Host}
	}
	line, err := json.Marshal(r)
	if err != nil { // strings, numbers and times always marshal
		panic(err)
	}
	return append(line, '\n')
}

// run delivers records that are due, until Close; then all, as far as that goes.
func (h *Hits) run() {
	defer close(h.done)
	tick := time.NewTicker(gatherFor / 4)
	defer tick.Stop()
	for open := true; open; {
		select {
		case <-tick.C:
			h.deliver(h.now().Add(-gatherFor), h.stop)
		case <-h.stop:
			open = false
		}
	}
	h.deliver(h.now(), h.ctx.Done())
	h.giveUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost += h.forget(func(r *held) bool { return !r.done })
}

// deliver delivers the records that were begun by then. What fails in a way that may pass is tried again after the
// others, with pauses, until it is delivered, too old, or stop is closed.
func (h *Hits) deliver(then time.Time, stop <-chan struct{}) {
	for due := h.due(then); len(due) > 0; due = h.due(then) {
		for _, at := range due {
			if h.deliverOne(at) {
				continue
			}
			select {
			case <-stop:
				return
			case <-time.After(min(firstPause<<min(h.failures-1, 10), maxPause)):
			}
		}
		then = h.later(then)
	}
}

// later is then, or what is due by now when deliveries took a while.
func (h *Hits) later(then time.Time) time.Time {
	if now := h.now().Add(-gatherFor); now.After(then) {
		return now
	}
	return then
}

// due returns the slots of the records that were begun by then and are not delivered, the oldest first, and forgets
// what is too old.
func (h *Hits) due(then time.Time) (due []slot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(func(r *held) bool { return r.done && then.Sub(r.begun) > time.Hour })
	h.lost += h.forget(func(r *held) bool { return then.Sub(r.begun) > keptFor })
	for at, r := range h.records {
		if !r.done && !r.begun.After(then) {
			due = append(due, at)
		}
	}
	slices.SortFunc(due, func(a, b slot) int {
		return cmp.Or(h.records[a].begun.Compare(h.records[b].begun), cmp.Compare(a.key.Value, b.key.Value), cmp.Compare(a.host, b.host))
	})
	return due
}

// deliverOne delivers one record. It returns false when that is to be tried again.
func (h *Hits) deliverOne(at slot) bool {
	h.mu.Lock()
	hit := h.records[at].Hit // only run forgets what is not done
	h.mu.Unlock()
	passing, err := h.to(h.ctx, at.id(), hit)
	h.settle(passing, err)
	if err != nil && passing {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records[at].done = true
	if err != nil {
		h.lost++
	}
	return true
}

// settle counts failures, and tells of them when they do not pass, or did not for a while.
func (h *Hits) settle(passing bool, err error) {
	if err == nil {
		h.failures = 0
		if h.told {
			h.told = false
			h.tell(nil)
		}
		return
	}
	h.failures++
	if !h.told && (!passing || h.failures >= tellAfter || h.ctx.Err() != nil) {
		h.told = true
		h.tell(err)
	}
}

// Close delivers what has been gathered, for ten seconds at most, and returns how many records were lost.
func (h *Hits) Close() (lost int64) {
	close(h.stop)
	end := time.AfterFunc(closeFor, h.giveUp)
	defer end.Stop()
	<-h.done
	return h.Lost()
}

// A poster posts records to a URL.
type poster struct {
	url    string
	client http.Client
}

// stay follows no redirect: a hit is for the ears of the one who was named.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (p *poster) deliver(ctx context.Context, _ string, line []byte) (passing bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(line))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return true, errors.Unwrap(err) // without the URL, which may hold a token
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("%s answered %s", req.URL.Host, resp.Status)
	}
	return false, nil
}
