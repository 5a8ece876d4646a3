package main

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// decode reads the NDJSON of a file, compressed or not.
func decode[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	for d := json.NewDecoder(r); d.More(); {
		var item T
		if err := d.Decode(&item); err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

// The decisions on a trace keep the rules of a run: within the budget, in the order of time, only what was seen, by its
// type, none twice, nothing private.
func TestPlanKeepsTheRules(t *testing.T) {
	t.Parallel()
	const perSecond, burst = 0.1, 5
	trace := filepath.Join("..", "..", "lookup", "plan", "testdata", "gateway.ndjson.gz")
	asks := filepath.Join(t.TempDir(), "asks.ndjson")
	out, _ := iocpipe(t, 0, "", "plan", "--rate", "1/10s", "--burst", "5", "--trace", "--answers", strings.Replace(trace, ".ndjson", ".truth.json", 1),
		"--asks", asks, trace)
	if !strings.Contains(out, " asked, ") || !strings.Contains(out, " malicious, ") {
		t.Errorf("summary: %s", out)
	}
	type seen struct {
		at  float64
		typ string
	}
	first := make(map[string]seen)
	type event struct {
		T          float64
		Indicators []struct{ Type, Value string }
	}
	events := decode[event](t, trace)
	for _, e := range events {
		for _, i := range e.Indicators {
			if _, ok := first[i.Value]; !ok {
				first[i.Value] = seen{e.T, i.Type}
			}
		}
	}
	type ask struct {
		T         float64
		Ask, Type string
	}
	decisions := decode[ask](t, asks)
	tokens, last := float64(burst), 0.0
	asked := make(map[string]bool)
	for n, d := range decisions {
		tokens = min(burst, tokens+(d.T-last)*perSecond) - 1
		addr, err := netip.ParseAddr(d.Ask)
		s, ok := first[d.Ask]
		switch {
		case d.T < last:
			t.Errorf("decision %d: time goes back", n)
		case tokens < -1e-3:
			t.Errorf("decision %d at %v: over the budget (%v)", n, d.T, tokens)
		case !ok || s.at > d.T+1e-3 || s.typ != d.Type:
			t.Errorf("decision %d: %v, which was seen %v", n, d, s)
		case asked[d.Ask]:
			t.Errorf("decision %d: %s is asked twice", n, d.Ask)
		case err == nil && (addr.IsPrivate() || addr.IsLoopback()):
			t.Errorf("decision %d: %s is private", n, d.Ask)
		}
		asked[d.Ask], last = true, d.T
	}
	if most := events[len(events)-1].T*perSecond + burst; float64(len(decisions)) < 0.9*min(most, float64(len(first))) {
		t.Errorf("%d decisions, where %.0f were allowed", len(decisions), most)
	}
}
