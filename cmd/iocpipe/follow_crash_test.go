package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFollowKills kills the program again and again while it follows two logs that grow and rotate, and writes to a file to
// which somebody else writes, too. In the end each line is in the file once.
func TestFollowKills(t *testing.T) {
	const n, kills = 20_000, 25
	dir := t.TempDir()
	out := filepath.Join(dir, "out.log")
	logs := []*growing{{path: filepath.Join(dir, "a.log")}, {path: filepath.Join(dir, "b.log")}}
	args := []string{"--intel", list(t, address(7)), "--state", filepath.Join(dir, "state"), "--follow", "--to", out}
	var done []chan struct{}
	for i, log := range logs {
		writeFile(t, log.path, fmt.Sprintf("log %d begins\n", i)) // files that begin alike are told apart by their numbers alone
		args = append(args, log.path)
		done = append(done, log.grow(t, n, n/4))
	}
	for range kills {
		p := start(t, args...)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		p.kill()
		appendFile(t, out, "somebody else\n")
	}
	for _, d := range done {
		<-d
	}
	p := start(t, args...)
	p.within(time.Minute, "all lines", func() bool { return strings.Count(readFile(t, out), "\n") >= 2*n+2+kills })
	p.until("going on", func() bool { return strings.Contains(p.err.String(), "goes on at") }) // all may have been there before
	p.cmd.Process.Signal(os.Interrupt)
	p.end(0)
	times := make(map[string]int)
	annotated := 0
	for line := range strings.Lines(readFile(t, out)) {
		number, _, _ := strings.Cut(line, ":")
		times[number]++
		annotated += strings.Count(line, "iocpipe={")
	}
	lost, more := 0, 0
	for i := range n {
		switch times := times[fmt.Sprintf("line %07d", i)]; {
		case times < 2:
			lost++
		case times > 2:
			more++
		}
	}
	t.Logf("%d lines of each log: %d lost, %d repeated; it says %s", n, lost, more, &p.err)
	if lost+more > 0 || len(times) != n+3 || annotated != 2 {
		t.Errorf("%d different lines, %d annotated", len(times), annotated)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
