package enrich

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/sinks/elastic"
)

const fakeDocuments = 1000 // of which every second holds something bad

func fakeSources() (sources []string) {
	for i := range fakeDocuments {
		ip := "192.0.2.1"
		if i%2 == 0 {
			ip = "203.0.113.7"
		}
		sources = append(sources, fmt.Sprintf(`{"message":"from %s","n":%d}`, ip, i))
	}
	return sources
}

func fakeOptions(t testing.TB) Options {
	return Options{Index: "i", Know: newFacts("203.0.113.7"), Scanner: extract.Scanner{Fields: extract.NewFields(nil, extract.DefaultIgnored, true)},
		Annotator: annotate.New(), Note: func(s string) { t.Log(s) }, Patience: time.Hour}
}

func number(id string) (n int) {
	_, _ = fmt.Sscan(id, &n)
	return n
}

// What goes wrong with requests or items costs time, never a document: all are updated exactly once, or are among the dead
// letters, or the job says why it has stopped.
func TestFaults(t *testing.T) {
	busy := func(status, every, times int) func(string, int) (int, string) {
		return func(id string, tries int) (int, string) {
			if number(id)%every == 0 && tries <= times {
				return status, "es_rejected_execution_exception"
			}
			return 0, ""
		}
	}
	nth := func(kind string, every int, answer func() (*elastic.Response, error)) func(string, int) (*elastic.Response, error, bool) {
		return func(k string, n int) (*elastic.Response, error, bool) {
			if k != kind || n%every != 1 {
				return nil, nil, false
			}
			r, err := answer()
			return r, err, true
		}
	}
	for _, c := range []struct {
		name    string
		spoil   func(*fake)
		dead    int64
		gone    int64
		err     string // the job ends with
		refused string // the index is left, because
	}{
		{name: "none", spoil: func(*fake) {}},
		{name: "429 for a fifth of the items", spoil: func(f *fake) { f.item = busy(429, 10, 3) }},
		{name: "503 for items", spoil: func(f *fake) { f.item = busy(503, 6, 2) }},
		{name: "429, 503 for requests of every kind", spoil: func(f *fake) {
			f.before = func(kind string, n int) (*elastic.Response, error, bool) {
				return failed(429+74*(n%2), "busy"), nil, kind != "close" && n%3 != 0
			}
		}},
		{name: "connections that break before the request is carried out", spoil: func(f *fake) {
			f.before = nth("_bulk", 2, func() (*elastic.Response, error) { return nil, errors.New("connection reset") })
		}},
		{name: "connections that break in the answer", spoil: func(f *fake) {
			f.after = func(kind string, n int, answer []byte) ([]byte, error) {
				if kind == "_bulk" && n%2 == 1 {
					return nil, errors.New("answer cut off: unexpected EOF")
				}
				return answer, nil
			}
		}},
		{name: "too few items, too many, and garbage", spoil: func(f *fake) {
			f.after = func(kind string, n int, answer []byte) ([]byte, error) {
				switch {
				case kind != "_bulk" || n%2 == 0:
					return answer, nil
				case n%3 == 0:
					return []byte(`{"items":[]}`), nil
				case n%3 == 1:
					return []byte(strings.Replace(string(answer), `{"items":[`, `{"items":[{"update":{"status":200}},`, 1)), nil
				}
				return []byte("<html>"), nil
			}
		}},
		{name: "413", spoil: func(f *fake) {
			sizes := 0
			f.before = func(kind string, n int) (*elastic.Response, error, bool) {
				if kind == "_bulk" {
					sizes++
				}
				return failed(413, ""), nil, kind == "_bulk" && sizes%4 == 1
			}
		}},
		{name: "a lost search context", spoil: func(f *fake) {
			f.before = func(kind string, n int) (*elastic.Response, error, bool) {
				if kind == "_search" && (n == 6 || n == 11) {
					clear(f.pits)
				}
				return nil, nil, false
			}
		}},
		{name: "no point in time", spoil: func(f *fake) { f.noPIT = true }},
		{name: "refused documents", dead: 50, spoil: func(f *fake) {
			f.item = func(id string, _ int) (int, string) {
				if number(id)%20 == 0 {
					return 400, "document_parsing_exception"
				}
				return 0, ""
			}
		}},
		{name: "conflicts without end", dead: 5, spoil: func(f *fake) {
			f.item = func(id string, _ int) (int, string) {
				if number(id)%200 == 0 {
					return 409, "version_conflict_engine_exception"
				}
				return 0, ""
			}
		}},
		{name: "deleted documents", gone: 5, spoil: func(f *fake) {
			f.item = func(id string, _ int) (int, string) {
				if number(id)%200 == 0 {
					return 404, "document_missing_exception"
				}
				return 0, ""
			}
		}},
		{name: "flood stage for two minutes", spoil: func(f *fake) {
			began := time.Now()
			f.item = func(string, int) (int, string) {
				if time.Since(began) <= 2*time.Minute {
					return 429, "cluster_block_exception: disk usage exceeded flood-stage watermark, index has read-only-allow-delete block"
				}
				return 0, ""
			}
		}},
		{name: "a block", refused: "cluster_block_exception", spoil: func(f *fake) {
			f.item = func(id string, _ int) (int, string) {
				if number(id) > 500 {
					return 403, "cluster_block_exception"
				}
				return 0, ""
			}
		}},
		{name: "401", err: "401", spoil: func(f *fake) {
			f.before = func(kind string, n int) (*elastic.Response, error, bool) {
				return failed(401, "security_exception"), nil, kind == "_bulk" && n > 2
			}
		}},
		{name: "no right to update", err: "may not be updated", spoil: func(f *fake) {
			f.item = func(string, int) (int, string) { return 403, "security_exception" }
		}},
		{name: "busy for ever", err: "waited for for 1h0m0s", spoil: func(f *fake) { f.item = busy(429, 2, 1<<30) }},
		{name: "garbage for ever", err: "8 times in a row", spoil: func(f *fake) {
			f.after = func(kind string, _ int, answer []byte) ([]byte, error) {
				if kind == "_bulk" {
					return []byte(`{}`), nil
				}
				return answer, nil
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, fakeSources()...)
				c.spoil(f)
				o := fakeOptions(t)
				letters := int64(0)
				o.DeadLetters = func(Letter) error { letters++; return nil }
				j, err := Open(t.Context(), f, o)
				if err == nil {
					err = j.Apply(t.Context())
				}
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error %v, want %q", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.refused != "" {
					if !strings.Contains(j.Targets[0].Refused, c.refused) || j.Left() != 1 {
						t.Errorf("refused: %q", j.Targets[0].Refused)
					}
					return
				}
				counts := j.Counts()
				if counts.DeadLetters != c.dead || letters != c.dead || counts.Gone != c.gone {
					t.Errorf("%+v, %d letters", counts, letters)
				}
				f.check(fakeDocuments/2 - c.dead - c.gone)
				writes := f.requests["_bulk"]
				if c.dead+c.gone == 0 {
					f.before, f.after, f.item = nil, nil, nil
					if _, again := run(t, f, o); again.Updated != 0 || f.requests["_bulk"] != writes {
						t.Errorf("the second run: %+v", again)
					}
				}
			})
		})
	}
}

// check checks that so many documents were enriched, once each, and no others written.
func (f *fake) check(want int64) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	enriched := int64(0)
	for _, d := range f.documents {
		has := strings.Count(d.source, `"matched"`)
		if has != d.writes || d.writes > 1 || d.writes == 1 && number(d.id)%2 != 0 {
			f.t.Errorf("document %s was written %d times: %s", d.id, d.writes, d.source)
		}
		enriched += int64(d.writes)
	}
	if enriched != want {
		f.t.Errorf("%d documents enriched, want %d", enriched, want)
	}
}

// A document that somebody else changes between reading and writing keeps both changes.
func TestConflicts(t *testing.T) {
	f := newFake(t, fakeSources()...)
	f.before = func(kind string, _ int) (*elastic.Response, error, bool) {
		if kind == "_bulk" {
			for _, d := range f.documents[:100] {
				if d.writes == 0 && !strings.Contains(d.source, "theirs") {
					d.source = strings.Replace(d.source, "{", `{"theirs":1,`, 1)
					d.seqNo, f.seqNo = f.seqNo, f.seqNo+1
				}
			}
		}
		return nil, nil, false
	}
	if _, c := run(t, f, fakeOptions(t)); c.Conflicts != 50 || c.Updated != 500 || c.DeadLetters != 0 {
		t.Errorf("%+v", c)
	}
	f.check(500)
	for _, d := range f.documents[:100] {
		if !strings.Contains(d.source, "theirs") {
			t.Errorf("lost: %s", d.source)
		}
	}
}

// A stopped job knows what it has written, and goes on where it was; with other settings it does not, and an index that was
// made anew is begun anew.
func TestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, fakeSources()...)
		o := fakeOptions(t)
		o.Checkpoint, o.Settings = filepath.Join(t.TempDir(), "job.json"), "a"
		ctx, cancel := context.WithCancel(t.Context())
		f.after = func(kind string, n int, answer []byte) ([]byte, error) {
			if kind == "_bulk" && n == 3 {
				cancel()
			}
			return answer, nil
		}
		j, err := Open(ctx, f, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Apply(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if written := j.Counts().Updated; written < 100 || written == 500 {
			t.Errorf("%d written before the stop", written)
		}
		j.Targets[0].progress.Before = begun
		if err := j.keep.save(); err != nil {
			t.Fatal(err)
		}
		other := o
		other.Settings = "b"
		if _, err := Open(t.Context(), f, other); !errors.Is(err, ErrSettings) {
			t.Errorf("with other settings: %v", err)
		}
		f.settings = `{"uuid":"u2","number_of_shards":"1"}`
		again, err := Open(t.Context(), f, o)
		if err != nil || !again.Resumed || again.Targets[0].progress.started() {
			t.Errorf("made anew: %v %v", err, again)
		}
		if err := again.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.check(500)
		if fresh, err := Open(t.Context(), f, o); err != nil || fresh.Resumed {
			t.Errorf("after the end: %v", err)
		}
	})
}

// The throttle bounds what is written, and one request at a time becomes several while the server is at ease.
func TestThrottleAndPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, fakeSources()...)
		o := fakeOptions(t)
		o.PerSecond = 10
		began := time.Now()
		run(t, f, o)
		if took := time.Since(began); took < 48*time.Second || took > 52*time.Second {
			t.Errorf("500 documents at 10 a second took %s", took)
		}
	})
	w := newWriter(&Job{Options: Options{MaxInFlight: 4}})
	for range 100 {
		w.adapt(false)
	}
	if w.limit != 4 {
		t.Errorf("%d requests at once after 100 good answers", w.limit)
	}
	w.adapt(true)
	if w.limit != 2 {
		t.Errorf("%d requests at once after a bad one", w.limit)
	}
}
