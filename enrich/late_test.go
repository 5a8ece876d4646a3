package enrich

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/sinks/elastic"
)

func newTestLate(t *testing.T, s Server, notes *[]string) *Late {
	return NewLate(s, LateOptions{Indices: func() []string { return []string{"i"} }, Know: newFacts("203.0.113.7"),
		Scanner: extract.Scanner{Fields: extract.NewFields(nil, extract.DefaultIgnored, true)}, Annotator: annotate.New(), Patience: time.Minute,
		Note: func(s string) { *notes = append(*notes, s) }})
}

// Late verdicts reach their documents a while after, once; those without a field to find documents by reach none.
func TestLateUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, fakeSources()...)
		var notes []string
		l := newTestLate(t, f, &notes)
		ctx, cancel := context.WithCancel(t.Context())
		go l.Run(ctx)
		l.Update(extract.Key{Type: extract.IP, Value: "203.0.113.7"}, begun)
		l.Update(extract.Key{Type: extract.Email, Value: "a@b.example"}, begun)
		synctest.Wait()
		if f.sent("_bulk") != 0 {
			t.Error("documents were updated before they can be expected to be stored")
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		f.check(500)
		l.Update(extract.Key{Type: extract.IP, Value: "203.0.113.7"}, begun)
		cancel()
		synctest.Wait()
		if c, lost := l.Finish(t.Context()); lost != 0 || c.Updated != 500 || len(notes) > 0 {
			t.Errorf("%+v, %d lost, %q", c, lost, notes)
		}
		f.check(500)
	})
}

// What the server refuses is told once and counted, and neither waits nor ends anything.
func TestLateRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, fakeSources()...)
		f.before = func(kind string, _ int) (*elastic.Response, error, bool) {
			return failed(403, "security_exception"), nil, true
		}
		var notes []string
		l := newTestLate(t, f, &notes)
		for range 3 {
			l.Update(extract.Key{Type: extract.IP, Value: "203.0.113.7"}, begun)
			l.round(t.Context(), time.Now().Add(time.Minute))
		}
		if _, lost := l.Finish(t.Context()); lost != 3 || len(notes) != 1 || !strings.Contains(notes[0], "403") {
			t.Errorf("%d lost, %q", lost, notes)
		}
		key := extract.Key{Type: extract.IP, Value: "203.0.113.7"}
		finding, _ := l.Know.Find(key, begun)
		if err := l.Hit(t.Context(), LateHit{Key: key, Finding: finding, From: begun, To: begun}); err == nil {
			t.Error("no error of a hit that was refused")
		}
	})
}

// A hit says who met what, and how to find the events, whatever is in the names.
func TestHitDocument(t *testing.T) {
	var notes []string
	l := newTestLate(t, newFake(t), &notes)
	key := extract.Key{Type: extract.Domain, Value: "evil.example"}
	l.Know.(*facts).learn(key.Value, intel.Malicious)
	finding, _ := l.Know.Find(key, begun)
	h := LateHit{Key: key, Finding: finding, Host: `we"b<1>"hit":{"indicator":"x`, Events: 3, From: begun, To: begun.Add(time.Minute),
		First: map[string]any{"file": `"indicator":`}, Last: map[string]any{"line": 3}}
	var s struct {
		Time   time.Time `json:"@timestamp"`
		Host   struct{ Name string }
		Threat struct {
			Enrichments []struct {
				Matched struct{ Atomic, Field string }
			}
		}
		Related struct{ Hosts []string }
		Iocpipe struct {
			Hit struct {
				Indicator, Query, Index string
				Events                  int
			}
		}
	}
	if err := json.Unmarshal(l.appendHit(nil, h), &s); err != nil {
		t.Fatal(err)
	}
	want := `related.hosts : "evil.example" and @timestamp >= "2026-03-04T09:00:00Z" and @timestamp <= "2026-03-04T09:01:01Z"`
	if s.Iocpipe.Hit.Query != want || s.Iocpipe.Hit.Events != 3 || s.Iocpipe.Hit.Index != "i" || s.Host.Name != h.Host || !s.Time.Equal(h.To) {
		t.Errorf("%+v", s)
	}
	if e := s.Threat.Enrichments; len(e) != 1 || e[0].Matched.Atomic != "evil.example" || e[0].Matched.Field != "iocpipe.hit.indicator" || len(s.Related.Hosts) != 1 {
		t.Errorf("%+v", s)
	}
}
