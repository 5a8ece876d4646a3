package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"iocpipe/filter"
	"iocpipe/filter/annotate"
)

// drainTime is how long input that is already in the pipe is read after the first signal.
const drainTime = 5 * time.Second

// inputFlags are the flags of how lines are read.
type inputFlags struct {
	maxLine int
}

// add declares the flags; long says what becomes of a line that is too long.
func (f *inputFlags) add(flags *pflag.FlagSet, long string) {
	flags.IntVar(&f.maxLine, "max-line", filter.DefaultMaxLine, "a line of more `BYTES` "+long)
}

func (f *inputFlags) validate() error {
	if f.maxLine < 1 {
		return usagef("--max-line %d: must be at least 1", f.maxLine)
	}
	return nil
}

// A stream runs blocks from inputs to an output, and remembers what went wrong on the way without stopping it.
type stream struct {
	con    console
	in     inputFlags
	stats  filter.Stats
	mu     sync.Mutex
	failed bool      // the exit code will be 1
	wrong  []problem // what went wrong and has not mended, one of each kind

	strict bool                                     // what costs annotations ends the lines
	abort  func()                                   // ends them at once; nil before they flow
	plain  func(dst []byte, b *filter.Block) []byte // see filter.Options
}

// A problem is what is wrong with something that may mend, or, about nothing, what stays.
type problem struct{ about, text string }

func newStream(con console, in inputFlags) *stream { return &stream{con: con, in: in} }

// complain prints a message once something failed that does not stop the lines; the exit code will be 1.
func (s *stream) complain(err error) { s.complainOf("", err) }

// complainOf is complain about something that may mend.
func (s *stream) complainOf(about string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	s.tell(about, err)
}

// tell prints what is wrong, and keeps it until it is mended; mu is held.
func (s *stream) tell(about string, err error) {
	if !slices.ContainsFunc(s.wrong, func(p problem) bool { return p.about == about }) {
		s.wrong = append(s.wrong, problem{about, err.Error()})
	}
	fmt.Fprintf(s.con.stderr, "iocpipe: %s\n", oneLine(err.Error()))
}

// oneLine makes a message, which may quote a server or a damaged file, safe for a terminal, and one line.
func oneLine(message string) string { return annotate.Safe(strings.ReplaceAll(message, "\n", "; ")) }

// change is complainOf, or mended when err is nil.
func (s *stream) change(about string, err error) {
	if err == nil {
		s.mended(about)
		return
	}
	s.complainOf(about, err)
}

// degraded is complainOf about what costs annotations: with strict it ends the lines.
func (s *stream) degraded(about string, err error) {
	s.complainOf(about, err)
	if s.strict && s.abort != nil {
		s.abort()
	}
}

// waits prints why lines wait for something, which is no failure as long as it may mend; readiness is red meanwhile.
func (s *stream) waits(about string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(about, err)
}

// flows takes back what waits said, and says so.
func (s *stream) flows(about, text string) {
	s.mended(about)
	s.say("%s", text)
}

// say prints a message about nothing that failed.
func (s *stream) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.con.stderr, "iocpipe: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// mended takes back the complaint about something.
func (s *stream) mended(about string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = slices.DeleteFunc(s.wrong, func(p problem) bool { return p.about == about })
}

// problem returns what is wrong, a line for each thing, or nothing.
func (s *stream) problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, p := range s.wrong {
		lines = append(lines, p.text)
	}
	return strings.Join(lines, "\n")
}

// do runs until the end of the inputs, or for drainTime after ctx is done: at once when a person types them. workers is
// how many blocks are handled at once; 0 stands for one a core.
func (s *stream) do(ctx context.Context, src filter.Source, w io.Writer, newWorker func() filter.Worker, long filter.Worker, workers int) (err error) {
	drain := drainTime
	if isTerminal(s.con.stdin) {
		drain = 0
	}
	s.stats, err = filter.Run(ctx, src, w, newWorker, filter.Options{
		Workers: workers, MaxLine: s.in.maxLine, Drain: drain, Long: long, Plain: s.plain, Failed: s.complain,
	})
	return err
}

// sameSignal is within which time the same signal twice is one: timeout(1) sends it to its child and to the whole group.
const sameSignal = 200 * time.Millisecond

// signals returns a context that is done at the first TERM or INT; a second one ends the program at once. restore
// undoes it.
func (s *stream) signals(parent context.Context) (ctx context.Context, restore func()) {
	ctx, cancel := context.WithCancelCause(parent)
	s.abort = func() { cancel(filter.ErrAtOnce) }
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		var first os.Signal
		var at time.Time
		for {
			var sig os.Signal
			select {
			case sig = <-signals:
			case <-done:
				return
			}
			if first == nil {
				first, at = sig, time.Now()
				cancel(nil)
			} else if sig != first || time.Since(at) > sameSignal {
				fmt.Fprintln(os.Stderr, "iocpipe: ended at once by a second signal; lines that were read and not yet written are lost")
				os.Exit(exitFailed)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// end returns the error that the command ends with: none when the output was closed by its reader.
func (s *stream) end(err error) error {
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil
	case err != nil:
		return fmt.Errorf("output: %w", err)
	case s.failed:
		return exitError{exitFailed, ""}
	}
	return nil
}
