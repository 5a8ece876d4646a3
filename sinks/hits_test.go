package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/sharedfile"
)

var evil = extract.Key{Type: extract.IP, Value: "203.0.113.7"}

func hit(host string, at time.Time) Hit {
	place := Place{Time: at, File: "a.log", Line: 7}
	return Hit{Key: evil, Finding: intel.Finding{Verdict: intel.Malicious, Source: "feodo"}, Host: host, Events: 1, First: place, Last: place}
}

// readRecords returns the records in a file.
func readRecords(t *testing.T, path string) (all []record) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

func TestHitsOncePerIndicatorHostAndHour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hits.ndjson")
	h, err := OpenHits(path, false, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 10, 5, 0, 0, time.UTC)
	var meeting sync.WaitGroup
	for i := range 17 {
		meeting.Go(func() { h.Meet(hit("web-3", at.Add(time.Duration(i)*time.Second))) })
	}
	meeting.Wait()
	h.Meet(hit("web-4", at))
	h.Meet(hit("web-3", at.Add(time.Hour)))
	if lost := h.Close(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	events := map[string]int64{}
	for _, r := range readRecords(t, path) {
		key := r.Hosts[0] + r.First.Time.Format(" 15")
		if _, twice := events[key]; twice {
			t.Errorf("two records of %s", key)
		}
		events[key] = r.Events
		if r.Indicator != evil.Value || r.Verdict != "malicious" || r.Source != "feodo" || r.Late || r.First.Line != 7 {
			t.Errorf("got %+v", r)
		}
	}
	if events["web-3 10"] != 17 || events["web-4 10"] != 1 || events["web-3 11"] != 1 || len(events) != 3 {
		t.Errorf("got %v", events)
	}
}

func TestHitsArePosted(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	answers := []int{503, 429, 200} // the first post is tried three times
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		status := 200
		if len(answers) > 0 {
			status, answers = answers[0], answers[1:]
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	h, err := OpenHits(server.URL+"/hook?token=secret", true, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	h.Meet(hit("web-3", time.Now()))
	if lost := h.Close(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	if len(bodies) != 3 || bodies[0] != bodies[2] || !json.Valid([]byte(bodies[2])) {
		t.Errorf("got %q", bodies)
	}
}

func TestHitsTellOfFailures(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	var told []string
	h, err := OpenHits(server.URL+"/hook?token=secret", true, func(err error) { told = append(told, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	h.Meet(hit("web-3", time.Now()))
	h.Meet(hit("web-4", time.Now()))
	if lost := h.Close(); lost != 2 {
		t.Errorf("%d lost, want 2", lost)
	}
	if len(told) != 1 || strings.Contains(told[0], "secret") {
		t.Errorf("told %q, want one message without the token", told)
	}
	if _, err := OpenHits(filepath.Join(t.TempDir(), "no", "such"), false, nil); err == nil {
		t.Error("a file that cannot be opened is no error")
	}
}

// What a file holds already is not written again, whoever wrote it: by two processes at once, nor after a restart.
func TestHitsOfSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hits.ndjson")
	at := time.Date(2026, 11, 1, 10, 5, 0, 0, time.UTC)
	for range 3 {
		var closing sync.WaitGroup
		for range 4 {
			h, err := OpenHits(path, false, func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				h.Meet(hit(fmt.Sprint("web-", i), at))
			}
			closing.Go(func() {
				if lost := h.Close(); lost != 0 {
					t.Errorf("%d lost", lost)
				}
			})
		}
		closing.Wait()
	}
	if n := len(readRecords(t, path)); n != 20 {
		t.Errorf("%d records of 20 hosts", n)
	}
}

// What another process is just writing is waited for, and not written again.
func TestHitsFileIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hits.ndjson")
	c, err := openCarrier(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = sharedfile.Lock(other)
	delivered := make(chan error)
	go func() {
		_, err := c.deliver(context.Background(), "a", []byte(`{"id":"a"}`+"\n"))
		delivered <- err
	}()
	select {
	case err := <-delivered:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := other.WriteString(`{"id":"a"}` + "\n"); err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	if err := <-delivered; err != nil {
		t.Fatal(err)
	}
	if n := len(readRecords(t, path)); n != 1 {
		t.Errorf("%d records", n)
	}
}

// A file may be moved away at any time, and may end in half a line of somebody who was killed.
func TestHitsFileIsRotatedAndTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hits.ndjson")
	if err := os.WriteFile(path, []byte(`{"id":"half`), 0o640); err != nil {
		t.Fatal(err)
	}
	c, err := openCarrier(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string) {
		t.Helper()
		if _, err := c.deliver(t.Context(), id, []byte(`{"id":"`+id+"\"}\n")); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	write("a")
	if got, _ := os.ReadFile(path); string(got) != "{\"id\":\"half\n{\"id\":\"a\"}\n" {
		t.Errorf("got %q", got)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("b")
	write("a") // told before, though not in this file
	if got, _ := os.ReadFile(path); string(got) != "{\"id\":\"b\"}\n" {
		t.Errorf("after the rotation: %q", got)
	}
}

// More at once than any queue would hold is no loss, and what a server refuses for a while is kept.
func TestHitsOutliveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts = 5000
		down := time.Now().Add(20 * time.Minute)
		posted := make(map[string]int)
		c := carrierFunc(func(id string) (bool, error) {
			if time.Now().Before(down) {
				return true, errors.New("down")
			}
			posted[id]++
			return false, nil
		})
		var told []error
		h := &Hits{to: lines(c), tell: func(err error) { told = append(told, err) }, now: time.Now, records: make(map[slot]*held),
			done: make(chan struct{}), stop: make(chan struct{})}
		h.ctx, h.giveUp = context.WithCancel(t.Context())
		go h.run()
		for i := range hosts {
			h.Meet(hit(fmt.Sprint("host-", i), time.Now()))
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if lost := h.Close(); lost != 0 || len(posted) != hosts {
			t.Errorf("%d lost, %d posted", lost, len(posted))
		}
		for id, n := range posted {
			if n != 1 {
				t.Errorf("%s posted %d times", id, n)
			}
		}
		if len(told) != 2 || told[0] == nil || told[1] != nil {
			t.Errorf("told %v, want that it is down and that it is back", told)
		}
	})
}

// What nobody takes for an hour is given up, and counted; Close waits ten seconds for the rest.
func TestHitsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hits{to: lines(carrierFunc(func(string) (bool, error) { return true, errors.New("down") })), tell: func(error) {}, now: time.Now,
			records: make(map[slot]*held), done: make(chan struct{}), stop: make(chan struct{})}
		h.ctx, h.giveUp = context.WithCancel(t.Context())
		go h.run()
		h.Meet(hit("old", time.Now()))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		h.mu.Lock()
		if h.lost != 1 || len(h.records) != 0 {
			t.Errorf("after two hours: %d lost, %d held", h.lost, len(h.records))
		}
		h.mu.Unlock()
		h.Meet(hit("new", time.Now()))
		before := time.Now()
		if lost := h.Close(); lost != 2 || time.Since(before) > closeFor {
			t.Errorf("%d lost after %v", lost, time.Since(before))
		}
	})
}

type carrierFunc func(id string) (passing bool, err error)

func (f carrierFunc) deliver(_ context.Context, id string, _ []byte) (bool, error) { return f(id) }

// A hit is for the one who was named, not for whom that one names.
func TestHitsFollowNoRedirect(t *testing.T) {
	var strangers atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	h, err := OpenHits(server.URL, true, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	h.Meet(hit("h1", time.Now()))
	if lost := h.Close(); lost != 1 || strangers.Load() != 0 {
		t.Errorf("%d lost, %d told to a stranger", lost, strangers.Load())
	}
}
