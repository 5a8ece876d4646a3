package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"iocpipe/lookup/lookuptest"
)

// flood gives lines with ever new addresses; at some of them something happens to the source.
type flood struct {
	lines, n int
	at       map[int]func()
	rest     []byte
}

func (f *flood) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.n == f.lines {
			return 0, io.EOF
		}
		if event := f.at[f.n]; event != nil {
			event()
		}
		f.rest = fmt.Appendf(nil, "%d from %d.%d.%d.9 and 203.0.113.7\n", f.n, 11+f.n>>16, f.n>>8&255, f.n&255)
		f.n++
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Whatever becomes of the source while lines flow, every line leaves, in order, with what local intelligence knows.
func TestSourceDiesWhileLinesFlow(t *testing.T) {
	const lines = 60_000
	var mode atomic.Int32
	modes := []http.Handler{
		lookuptest.JSON(`{"response_code":"0"}`),
		lookuptest.Stall(func() {}, nil, nil),
		lookuptest.Reset(`{"response_code":"1"}`),
		lookuptest.HangUp(),
		lookuptest.HTML(),
		lookuptest.Endless(),
	}
	server := lookuptest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		modes[mode.Load()].ServeHTTP(w, r)
	}))
	in := &flood{lines: lines, at: make(map[int]func())}
	for i := range modes {
		in.at[i*lines/len(modes)] = func() { mode.Store(int32(i)) }
	}
	var stdout, stderr bytes.Buffer
	list := t.TempDir() + "/list.txt"
	writeFile(t, list, "203.0.113.7\n")
	args := []string{"--state", "none", "--intel", list, "--intel", server.URL, "--rate", "100000/s", "--burst", "1000"}
	code := run(args, console{in, &stdout, &stderr})
	if code > exitFailed {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	n := 0
	for line := range strings.Lines(stdout.String()) {
		start := fmt.Sprintf("%d from ", n)
		if !strings.HasPrefix(line, start) || !strings.Contains(line, "203.0.113.7 iocpipe={") {
			t.Fatalf("line %d is %q", n, line)
		}
		n++
	}
	if n != lines {
		t.Errorf("%d lines left of %d; stderr: %s", n, lines, &stderr)
	}
}
