package sinks

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
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
