// Package filter is one event's way: blocks of whole lines are read as they arrive ([Reader]), annotated by workers on
// all cores, and written in the order of reading ([Run]). Every line that comes in leaves exactly once; what a worker
// knows or fails to know costs annotations, never lines.
package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Worker turns blocks into what is to leave in their place. Each is used by one goroutine.
type Worker interface {
	// Process appends to dst what is to leave in place of b's lines and returns the extended slice. Where nothing
	// changes it returns b.Data itself, and nothing is copied. It must not change b or b.Data, nor keep any of the three.
	Process(dst []byte, b *Block) []byte
}

// Options are the settings of [Run].
type Options struct {
	Workers int           // that run at once; 0 stands for GOMAXPROCS
	MaxLine int           // see [NewReader]
	Drain   time.Duration // how long reading goes on after ctx is done, unless the input ends before; 0 stops at once

	// Long handles the pieces of long lines, one after the other in the order of reading. Without it they leave as
	// they are.
	Long Worker

	// Plain, when it is set, appends what leaves in place of a block after a panic; else that is the block as it came. It
	// is used by one goroutine at a time.
	Plain func(dst []byte, b *Block) []byte

	// Failed must be set. It is told of inputs that could not be read to their end, and of the first panic of a worker
	// (a [*PanicError]). It may be called from several goroutines at once.
	Failed func(error)
}

// ErrAtOnce, as the cause of a context's end, ends [Run] without Options.Drain.
var ErrAtOnce = errors.New("reading ends at once")

// Stats counts what went through [Run]. When every line leaves in place of one that came, Lines and LinesOut are equal.
type Stats struct {
	Lines, LinesOut int64 // read and written, an unfinished last line included
	Bytes, BytesOut int64
	Long            int64 // lines over the limit
	Panics          int64 // blocks that left as they came because a worker panicked
}

// A PanicError says that a worker panicked and that the lines it worked on have left as they came.
type PanicError struct {
	Name  string // of the input
	Line  int64  // the first of the block
	Value any    // of the panic
	Stack []byte
}

// Error returns one line, without the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("%s: near line %d: not annotated: internal error: %v", e.Name, e.Line, e.Value)
}

// A Positioner is an output that is told how far the input has come.
type Positioner interface {
	// Reaching says that the next Write, before any other call, brings the output to at.
	Reaching(at Position)

	// Reached says that everything in front of at has been written, or was not to be: a source that is placed would
	// go on there.
	Reached(at Position)
}

// Run passes what src gives to w, block by block in the order of reading. What w gets in one Write is what one block
// became, so that it begins with a line but for the pieces of a long one; where the line before lacks its ending, as
// at the end of a file, a line feed is written between. Nothing is held back: a block is written as soon as it is done
// and those before it are. A w that is a [Positioner] is told of each.
//
// Memory is bounded by 2*Workers+3 blocks, each of 256 KiB or of one line, and what the workers make of them.
//
// When ctx is done reading goes on for Options.Drain, unless the cause is [ErrAtOnce]; then what was read is written, and
// Run returns nil. A Read that blocks is left behind, with its goroutine. The only error is w's, at which Run ends at
// once: [syscall.EPIPE] when nobody reads any more.
func Run(ctx context.Context, src Source, w io.Writer, newWorker func() Worker, opts Options) (Stats, error) {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	p := &pipeline{newWorker: newWorker, opts: opts, w: w}
	p.output, _ = w.(Positioner)
	p.reader = NewReader(src, opts.MaxLine, opts.Failed)

	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() { p.drain(context.Cause(ctx), ended) })()

	g, broken := errgroup.WithContext(context.WithoutCancel(ctx))
	defer context.AfterFunc(broken, p.reader.Stop)()
	order, work := make(chan *Block, 2*opts.Workers), make(chan *Block)
	g.Go(func() error { return p.feed(broken, order, work) })
	for range opts.Workers {
		g.Go(func() error { return p.work(work) })
	}
	g.Go(func() error { return p.write(order) })
	err := g.Wait()
	p.stats.Panics = p.panics.Load()
	return p.stats, err
}

// A pipeline is one call of Run.
type pipeline struct {
	reader    *Reader
	newWorker func() Worker
	opts      Options
	w         io.Writer
	output    Positioner // w, or nil when it is none
	panics    atomic.Int64
	plainMu   sync.Mutex // held while Options.Plain runs
	stats     Stats      // Lines, Bytes and Long are feed's, LinesOut and BytesOut write's
	midLine   bool       // the last byte written was no line feed
}

// drain stops the reading after Options.Drain, unless Run ends before.
func (p *pipeline) drain(cause error, ended <-chan struct{}) {
	if errors.Is(cause, ErrAtOnce) {
		p.reader.Stop()
		return
	}
	timer := time.NewTimer(p.opts.Drain)
	defer timer.Stop()
	select {
	case <-timer.C:
		p.reader.Stop()
	case <-ended:
	}
}

// feed hands each block to the writer, by its place in order, and to a worker. cap(order) bounds what is held.
func (p *pipeline) feed(broken context.Context, order, work chan<- *Block) error {
	defer close(order)
	defer close(work)
	for {
		b, err := p.reader.Next()
		if err != nil {
			return nil // the end; inputs that failed were reported
		}
		p.count(b)
		long := b.Long // once in order, a long line's piece is the writer's
		select {
		case order <- b:
		case <-broken.Done():
			return nil
		}
		if !long {
			work <- b // cannot hang: workers run until work is closed
		}
	}
}

func (p *pipeline) count(b *Block) {
	p.stats.Lines += int64(b.Lines)
	p.stats.Bytes += int64(len(b.Data))
	if b.First {
		p.stats.Long++
	}
}

func (p *pipeline) work(work <-chan *Block) error {
	w := p.newWorker()
	for b := range work {
		if !p.process(w, b) {
			w = p.newWorker() // what a panic leaves behind is not to be trusted
		}
		b.done <- struct{}{}
	}
	return nil
}

// process lets w decide what leaves in place of b. It reports false after a panic, when b leaves as it came.
func (p *pipeline) process(w Worker, b *Block) (ok bool) {
	defer func() {
		if value := recover(); value != nil {
			b.leaves(p.plain(b))
			p.panicked(&PanicError{b.Name, b.Line, value, debug.Stack()})
		}
	}()
	b.leaves(w.Process(b.spare[:0], b))
	return true
}

func (p *pipeline) plain(b *Block) []byte {
	if p.opts.Plain == nil {
		return b.Data
	}
	p.plainMu.Lock()
	defer p.plainMu.Unlock()
	return p.opts.Plain(nil, b)
}

// panicked counts; what made one worker panic is likely to come again, so that only the first is reported.
func (p *pipeline) panicked(err *PanicError) {
	if p.panics.Add(1) == 1 {
		p.opts.Failed(err)
	}
}

// write writes the blocks in their order. Pieces of long lines are handled here, where they come one after the other.
func (p *pipeline) write(order <-chan *Block) error {
	for b := range order {
		switch {
		case !b.Long:
			<-b.done
		case p.opts.Long == nil:
			b.leaves(b.Data)
		default:
			p.process(p.opts.Long, b)
		}
		if err := p.writeBlock(b); err != nil {
			return err
		}
		if p.output != nil && b.endsLine() {
			p.output.Reached(b.end())
		}
		p.reader.Release(b)
	}
	if p.midLine {
		p.stats.LinesOut++
	}
	return nil
}

func (p *pipeline) writeBlock(b *Block) error {
	if len(b.out) == 0 {
		return nil
	}
	if p.midLine && b.startsLine() {
		if err := p.writeBytes(lineFeed, 1); err != nil {
			return err
		}
	}
	if p.output != nil && b.endsLine() {
		p.output.Reaching(b.end())
	}
	return p.writeBytes(b.out, b.feeds)
}

// writeBytes writes data, which holds that many line feeds.
func (p *pipeline) writeBytes(data []byte, feeds int) error {
	n, err := p.w.Write(data)
	p.stats.BytesOut += int64(n)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	p.stats.LinesOut += int64(feeds)
	p.midLine = data[len(data)-1] != '\n'
	return nil
}
