package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"iocpipe/cache/host"
	"iocpipe/lookup/lookuptest"
)

// The tests of engine_*_test.go run the program itself, as processes that share a state folder and ask a source on
// loopback.

const (
	reportUnknown   = `{"response_code":"0"}`
	reportMalicious = `{"response_code":"1","votes":-1,"permalink":"https://crowd.example/"}`
)

// address returns the public address number n of a million.
func address(n int) string { return fmt.Sprintf("93.%d.%d.%d", 1+n>>16, n>>8&255, n&255) }

// A program is iocpipe, running.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   transcript
	err   transcript
	ended chan struct{}
}

// A transcript is what a program has written so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start runs iocpipe with args between two pipes, in an environment of its own. It is killed at the end of the test.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command("iocpipe", args...), ended: make(chan struct{})}
	p.cmd.Env = []string{"HOME=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code is asked for later
	}()
	t.Cleanup(p.kill)
	return p
}

// say writes a line to the program; that it has been killed is no failure.
func (p *program) say(format string, args ...any) { _, _ = fmt.Fprintf(p.in, format+"\n", args...) }

func (p *program) kill() {
	_ = p.cmd.Process.Kill() // fails once it has ended
	<-p.ended
}

// end closes the program's input and waits for its end, which must be with that exit code.
func (p *program) end(code int) {
	p.t.Helper()
	_ = p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(3 * scriptPatience):
		p.t.Fatalf("it does not end; stderr: %s", &p.err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d; stderr: %s", got, code, &p.err)
	}
}

// until waits for a condition, which must come true.
func (p *program) until(what string, cond func() bool) {
	p.t.Helper()
	p.within(scriptPatience, what, cond)
}

// within is until for what takes longer.
func (p *program) within(limit time.Duration, what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s: never; stdout: %.2000s\nstderr: %s", what, &p.out, &p.err)
		}
	}
}

// untilAnnotated says a line again and again until one comes out annotated with what.
func (p *program) untilAnnotated(line, what string) {
	p.t.Helper()
	p.until(line+" annotated with "+what, func() bool {
		seen := len(p.out.String())
		p.say("%s", line)
		p.until(line, func() bool { return strings.Contains(p.out.String()[seen:], line) })
		return strings.Contains(p.out.String()[seen:], what)
	})
}

// iocpipe runs a command to its end, which must be with that exit code, and returns what it wrote.
func iocpipe(t *testing.T, code int, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	p := start(t, args...)
	_, _ = io.WriteString(p.in, stdin) // it may end before it has read everything
	p.end(code)
	return p.out.String(), p.err.String()
}

// lines returns n lines, each with an address of its own from address(first) on.
func lines(first, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "sshd[1]: Failed password for root from %s port 22\n", address(first+i))
	}
	return b.String()
}

// maliciousOnly is a source that knows values, which are malicious, and nothing else.
func maliciousOnly(t *testing.T, values ...string) *lookuptest.Server {
	replies := make(map[string]http.Handler)
	for _, value := range values {
		replies[value] = lookuptest.JSON(reportMalicious)
	}
	return lookuptest.NewServer(t, lookuptest.ByValue(replies, lookuptest.JSON(reportUnknown)))
}

// openDB opens the state's file with nothing of ours, as any tool would.
func openDB(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, host.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// queryOne returns the one value that a query gives.
func queryOne[T any](t *testing.T, db *sql.DB, query string, args ...any) (value T) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}
