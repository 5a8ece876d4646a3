package feed

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"iocpipe/lookup/lookuptest"
)

// A mispServer publishes a feed of MISP.
type mispServer struct {
	mu       sync.Mutex
	manifest string
	events   map[string]string // by UUID
}

func (s *mispServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.TrimSuffix(path.Base(r.URL.Path), ".json")
	if name == "manifest" {
		_, _ = io.WriteString(w, s.manifest)
		return
	}
	event, ok := s.events[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, event)
}

// uuid is that of the n-th event.
func uuid(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

func TestMISPFeed(t *testing.T) {
	s := &mispServer{
		manifest: fmt.Sprintf(`{%q:{"info":"one","timestamp":"1714550400"},%q:{"info":"two","timestamp":1714550401},%q:1714550402}`, uuid(1), uuid(2), uuid(3)),
		events:   map[string]string{uuid(1): "1", uuid(2): "2", uuid(3): "3"}, // JSON values, which the lists of these tests are, too
	}
	server := lookuptest.NewServer(t, s)
	w := newWorld(t)
	f := ofURL("f", server.URL+"/feed-osint")
	f.Format = "misp-feed"
	w.add(f)
	step := func(what string, outcome Outcome, held string, asked int) {
		t.Helper()
		before := len(server.Asked())
		r := w.update(forced(w.opt))["f"]
		if got := len(server.Asked()) - before; r.Outcome != outcome || w.held("f") != held || got != asked {
			t.Errorf("%s: %s (%v), held %q, asked %v", what, r.Outcome, r.Err, w.held("f"), server.Asked()[before:])
		}
	}
	step("at first", Updated, "1 2 3", 4)
	step("nothing new", Unchanged, "1 2 3", 1)

	s.manifest = strings.Replace(s.manifest, "1714550401", "1800000000", 1)
	s.events[uuid(2)] = "22"
	step("one event is new", Updated, "1 22 3", 2)

	s.manifest = strings.Replace(s.manifest, "1714550402", "1800000000", 1)
	delete(s.events, uuid(3))
	step("one event is missing", Updated, "1 22", 2)
	if f := w.registered("f"); f.Refused != 1 || f.ETag != "" {
		t.Errorf("%+v", f)
	}
	s.events[uuid(3)] = "33"
	step("it comes", Updated, "1 22 33", 2)

	s.manifest = fmt.Sprintf(`{%q:{"timestamp":"1714550400"},%q:5,%q:5}`, uuid(1), uuid(8), uuid(9))
	step("most events are missing", Failed, "1 22 33", 3)
	s.manifest = `{"../../etc/passwd":{"timestamp":"1"}}`
	step("a hostile manifest", Failed, "1 22 33", 1)
	s.manifest = `<html>`
	step("no manifest", Failed, "1 22 33", 1)
	s.manifest = fmt.Sprintf(`{%q:{"timestamp":"1714550400"},%q:{"timestamp":1800000000}}`, uuid(1), uuid(2))
	step("one event is withdrawn", Updated, "1 22", 1)
	kept, _ := os.ReadDir(filepath.Join(filepath.Dir(w.path), eventsDir, "f"))
	if len(kept) != 2 {
		t.Errorf("kept: %v", kept)
	}
	if err := Change(t.Context(), w.path, func(r *Registry) error { return r.Remove("f") }); err != nil {
		t.Fatal(err)
	}
	w.update(w.opt)
	if left, _ := os.ReadDir(filepath.Join(filepath.Dir(w.path), eventsDir)); len(left) > 0 {
		t.Errorf("the feed is gone, and of its events are left: %v", left)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"00000000-0000-0000-0000-000000000001":{"info":"one","timestamp":"1714550400"}}`))
	f.Add([]byte(`{"00000000-0000-0000-0000-000000000001":1714550400}`))
	f.Add([]byte(`{"../x":{"timestamp":"1"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := parseManifest(data)
		if err != nil && events != nil {
			t.Fatal("events with an error")
		}
		for _, e := range events { // they name files
			if name := e.fileName(); name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
				t.Fatalf("the event is kept in %q", name)
			}
		}
	})
}

func FuzzNextPage(f *testing.F) {
	f.Add([]byte(`{"next":"https://otx.example/api?page=2"}`))
	f.Add([]byte(`{"next":"//feeds.example/"}`))
	f.Add([]byte(`{"neXt":"//otx.example#"}`))
	f.Add([]byte(`{"next":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		next, err := nextPage(data, "https://otx.example/api")
		if err != nil || next == "" {
			return
		}
		if u, err := url.Parse(next); err != nil || u.Scheme != "https" || u.Host != "otx.example" {
			t.Fatalf("the key would go to %s", next)
		}
	})
}
