package plan

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write the generated trace to testdata")

// world makes a small trace: 20 minutes of a gateway with a login. Visitors come and go, users mistype, a resolver's
// names follow a steep curve; among them a few addresses guess passwords, and some clicks lead to a bait.
type world struct {
	random *rand.Rand
	events []traceEvent
	truth  map[string]truth
}

const worldSeconds = 1200

// newWorld always makes the same world.
func newWorld() *world {
	w := &world{random: rand.New(rand.NewPCG(20, 26)), truth: make(map[string]truth)}
	w.names()
	w.visitors()
	w.guessers()
	w.baits()
	slices.SortStableFunc(w.events, func(a, b traceEvent) int { return int(10*a.T) - int(10*b.T) })
	return w
}

// see adds an event. Times have one decimal, as in a trace.
func (w *world) see(t float64, typ, value, outcome string, host int) {
	if t < 0 || t >= worldSeconds {
		return
	}
	var e traceEvent
	e.T = float64(int(10*t)) / 10
	ind := traceIndicator{Type: typ, Value: value}
	ind.Ctx.Outcome = outcome
	if host > 0 {
		ind.Ctx.Host = fmt.Sprintf("10.0.0.%d", host)
	}
	e.Indicators = append(e.Indicators, ind)
	w.events = append(w.events, e)
}

func (w *world) when() float64 { return w.random.Float64() * worldSeconds }

func (w *world) names() {
	popular := rand.NewZipf(w.random, 1.2, 4, 600)
	for range 900 {
		n := popular.Uint64()
		w.see(w.when(), "domain", fmt.Sprintf("www.place%d.example", n), "ok", 1+w.random.IntN(40))
	}
	w.truth["www.place0.example"] = truth{Votes: 1, Related: []string{"203.0.113.1"}}
}

func (w *world) visitors() {
	for i := range 500 {
		outcome := "ok"
		if w.random.IntN(20) == 0 {
			outcome = "fail"
		}
		t := w.when()
		for range 1 + w.random.IntN(3) {
			w.see(t, "ip", fmt.Sprintf("198.18.%d.%d", i/8, 1+i%8), outcome, 0)
			t += w.random.Float64() * 30
		}
	}
}

// guessers are 12 addresses; the source knows 8 of them, and that each had to do with the next one.
func (w *world) guessers() {
	address := func(i int) string { return fmt.Sprintf("198.51.%d.9", 100+i) }
	for i := range 12 {
		t, tries := w.when(), 3+w.random.IntN(40)
		for range tries {
			w.see(t, "ip", address(i), "fail", 0)
			t += 1 + w.random.Float64()*10
		}
		if i < 8 {
			w.truth[address(i)] = truth{Votes: -1, Related: []string{address((i + 1) % 8)}}
		}
	}
}

func (w *world) baits() {
	for i := range 6 {
		name := fmt.Sprintf("secure-login%d.top", i)
		t := w.when()
		for range 3 {
			w.see(t, "domain", name, "ok", 50+i)
			t += w.random.Float64() * 60
		}
		if i%2 == 0 {
			w.truth[name] = truth{Votes: -1}
		}
	}
}

func (w *world) trace(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	for _, event := range w.events {
		line, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		buf.Write(append(line, '\n'))
	}
	return buf.Bytes()
}

// TestWorldIsInTestdata keeps the files what the generator makes; -update writes them.
func TestWorldIsInTestdata(t *testing.T) {
	w := newWorld()
	answers, err := json.Marshal(w.truth)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"testdata/gateway.ndjson.gz": w.trace(t), "testdata/gateway.truth.json.gz": answers,
	} {
		if *update {
			pack(t, name, want)
		}
		if got := unpack(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes: run the test with -update", name)
		}
	}
}

func pack(t *testing.T, name string, data []byte) {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := unpacked(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
