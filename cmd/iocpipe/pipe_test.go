package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type pipeKey struct{}

// A pipe is a program of a script that runs between two pipes while the script goes on.
type pipe struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	lines chan string // that came out; closed at the end
	ended chan struct{}

	mu  sync.Mutex
	err strings.Builder // what came on stderr
}

// Write takes what the program says on stderr.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err.Write(b)
}

func (p *pipe) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err.String()
}

// pipeCommand is the script's command pipe:
//
//	pipe start PROGRAM ARG…    starts it between two pipes
//	pipe say TEXT              gives it a line
//	pipe say-part TEXT         gives it bytes without a line ending
//	pipe hear REGEXP           waits for the next line that comes out, which must match
//	pipe say-until REGEXP TEXT gives it the line again and again, until the line that comes out matches
//	pipe says REGEXP           waits until what came on stderr matches
//	pipe signal TERM|INT|HUP   sends a signal
//	pipe signal-on TERM|INT|HUP   sends it until the program ends: one on the heels of another may be lost
//	pipe shut                  ends its standard input
//	pipe deaf                  closes what it writes to
//	pipe end CODE              waits for the end, which must be with that exit code and no more lines; stdout and
//	                           stderr are then what came that was not heard, and all of stderr
func pipeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: pipe start|say|hear|say-until|says|signal|shut|deaf|end …")
	}
	p := ts.Value(pipeKey{}).(*pipe)
	rest := strings.Join(args[1:], " ")
	switch args[0] {
	case "start":
		p.start(ts, args[1:])
	case "say":
		p.say(ts, rest+"\n")
	case "say-part":
		p.say(ts, rest)
	case "hear":
		if line := strings.TrimSuffix(p.hear(ts), "\n"); !regexp.MustCompile(rest).MatchString(line) {
			ts.Fatalf("heard %q", line)
		}
	case "say-until":
		p.sayUntil(ts, regexp.MustCompile(args[1]), strings.Join(args[2:], " ")+"\n")
	case "says":
		p.awaitSaid(ts, regexp.MustCompile("(?m)"+rest))
	case "signal":
		ts.Check(p.cmd.Process.Signal(signals[rest]))
	case "signal-on":
		p.signalOn(signals[rest])
	case "shut":
		ts.Check(p.in.Close())
	case "deaf":
		ts.Check(p.out.Close())
	case "end":
		p.end(ts, rest)
	default:
		ts.Fatalf("pipe %s: unknown", args[0])
	}
}

var signals = map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP}

func (p *pipe) signalOn(sig os.Signal) {
	for range scriptPatience / time.Millisecond {
		_ = p.cmd.Process.Signal(sig) // fails once it has ended
		select {
		case <-p.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (p *pipe) start(ts *testscript.TestScript, args []string) {
	p.cmd = scriptProgram(ts, args)
	var err error
	p.in, err = p.cmd.StdinPipe()
	ts.Check(err)
	out, stdout, err := os.Pipe() // not StdoutPipe, which must be read before Wait
	ts.Check(err)
	p.out, p.cmd.Stdout, p.cmd.Stderr = out, stdout, p
	p.err.Reset() // the program before has ended
	ts.Check(p.cmd.Start())
	_ = stdout.Close()
	p.lines, p.ended = make(chan string, 1<<16), make(chan struct{})
	go func(lines chan<- string) {
		defer close(lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if line != "" {
				lines <- line
			}
			if err != nil {
				return
			}
		}
	}(p.lines)
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		defer close(ended)
		_ = cmd.Wait() // the exit code is asked for later
	}(p.cmd, p.ended)
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // fails where it has ended, as it should
		_ = out.Close()
	})
}

func (p *pipe) say(ts *testscript.TestScript, text string) {
	_, err := io.WriteString(p.in, text)
	ts.Check(err)
}

func (p *pipe) hear(ts *testscript.TestScript) string {
	select {
	case line, ok := <-p.lines:
		if !ok {
			ts.Fatalf("nothing more came; stderr: %s", p.said())
		}
		return line
	case <-time.After(scriptPatience):
		ts.Fatalf("no line came; stderr: %s", p.said())
	}
	return ""
}

func (p *pipe) sayUntil(ts *testscript.TestScript, pattern *regexp.Regexp, line string) {
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.say(ts, line)
		if pattern.MatchString(p.hear(ts)) {
			return
		}
	}
	ts.Fatalf("no line came that matches %s; stderr: %s", pattern, p.said())
}

func (p *pipe) awaitSaid(ts *testscript.TestScript, pattern *regexp.Regexp) {
	for end := time.Now().Add(scriptPatience); !pattern.MatchString(p.said()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("stderr does not match %s: %s", pattern, p.said())
		}
	}
}

func (p *pipe) end(ts *testscript.TestScript, code string) {
	want, err := strconv.Atoi(code)
	ts.Check(err)
	select {
	case <-p.ended:
	case <-time.After(scriptPatience):
		ts.Fatalf("it does not end; stderr: %s", p.said())
	}
	for line := range p.lines {
		_, _ = io.WriteString(ts.Stdout(), line)
	}
	_, _ = io.WriteString(ts.Stderr(), p.said())
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d; stderr: %s", got, want, p.said())
	}
}
