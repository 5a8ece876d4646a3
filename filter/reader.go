package filter

import (
	"bytes"
	"errors"
	"io"
	"math"
	"sync"
)

// DefaultMaxLine is the limit of a line's length, in bytes without its ending, above which it is not looked into.
const DefaultMaxLine = 1 << 20

// maxMaxLine keeps sums with a limit that is meant to be none from overflowing.
const maxMaxLine = math.MaxInt / 2

// A Source gives inputs, one after the other. It is called from one goroutine at a time, not always the same.
type Source interface {
	// Next goes on to the next input and returns its name, or io.EOF when there is none. After another error, which
	// names the input, it can be called again.
	Next() (name string, err error)

	// Read reads the input that Next went on to, until io.EOF or an error, which names the input. It must return
	// what is there without waiting for p to be full.
	io.Reader
}

// A placed Source can go on with an input where it was left.
type placed interface {
	// At says where the input that Next went on to stands: what identifies the file under whatever name, and the
	// offset and the number of the line with which Read begins.
	At() (id string, offset, line int64)
}

// A Reader cuts what a [Source] gives into blocks of whole lines as they arrive: it hands on what one Read brought, up
// to the last line feed, and keeps the rest for the next block. So a line that comes alone leaves at once, and much
// input leaves in large blocks. Lines end in LF or CRLF; every other byte is content. Each byte is handed on once.
//
// A line over the limit is handed on in pieces, as it streams, so that its length costs no memory. (bufio.Scanner
// would give up on it.)
type Reader struct {
	src     Source
	maxLine int
	failed  func(error)
	answers chan answer
	stopped chan struct{}
	stop    func()
	blocks  sync.Pool

	// What was read and is not handed on is buf[start:end]; buf[start:whole] ends in a line feed, and from there on
	// is none. It begins at line and offset of the input called name.
	buf               []byte
	start, whole, end int
	name, id          string
	line, offset      int64

	long bool  // the bytes to come go on with a long line
	over error // why the input gives no more; nil while it does
}

// errStopped ends an input when the Reader is stopped.
var errStopped = errors.New("reading was stopped")

// NewReader returns a Reader of src. A line of more than maxLine bytes, without its ending, is long; 0 stands for
// [DefaultMaxLine]. failed is told of every input that could not be opened or read to its end; those after it are read.
func NewReader(src Source, maxLine int, failed func(error)) *Reader {
	if maxLine <= 0 {
		maxLine = DefaultMaxLine
	}
	r := &Reader{src: src, maxLine: min(maxLine, maxMaxLine), failed: failed, over: io.EOF}
	r.answers = make(chan answer, 1)
	r.stopped = make(chan struct{})
	r.stop = sync.OnceFunc(func() { close(r.stopped) })
	r.blocks.New = func() any { return &Block{done: make(chan struct{}, 1)} }
	return r
}

// Next returns the next block, or io.EOF at the end of the last input. It is for one goroutine. [Reader.Release] the
// block when it is done with.
func (r *Reader) Next() (*Block, error) {
	for {
		if b := r.cut(); b != nil {
			return b, nil
		}
		if r.over == nil {
			r.fill()
		} else if !r.open() {
			return nil, io.EOF
		}
	}
}

// Stop ends the reading, from any goroutine: Next hands on what was read, an unfinished line included, and then returns
// io.EOF. A call to the source that blocks is left behind, with its goroutine; what it brings afterwards is dropped.
func (r *Reader) Stop() { r.stop() }

// Release gives a block back to be used again, from any goroutine.
func (r *Reader) Release(b *Block) {
	b.recycle()
	r.blocks.Put(b)
}

// An answer is what a call to the source brought.
type answer struct {
	at  Position // of the next input
	n   int
	err error
}

// ask makes a call to the source on a goroutine of its own, so that Stop need not wait for one that blocks. (Deadlines
// would need files that are polled, which standard input is not.) It costs 0.6 µs; to read a full block takes 11.
func (r *Reader) ask(call func() answer) answer {
	select {
	case <-r.stopped:
		return answer{err: errStopped}
	default:
	}
	go func() { r.answers <- call() }()
	select {
	case a := <-r.answers:
		return a
	case <-r.stopped:
		return answer{err: errStopped}
	}
}

// open goes on to the next input that can be opened. It reports whether there is one.
func (r *Reader) open() bool {
	for {
		a := r.ask(r.next)
		switch a.err {
		case nil:
			r.name, r.id, r.line, r.offset, r.over = a.at.Name, a.at.ID, a.at.Line, a.at.Offset, nil
			return true
		case io.EOF, errStopped:
			return false
		}
		r.failed(a.err)
	}
}

// next goes on to the next input of the source.
func (r *Reader) next() answer {
	name, err := r.src.Next()
	at := Position{Name: name, Line: 1}
	if src, ok := r.src.(placed); ok && err == nil {
		at.ID, at.Offset, at.Line = src.At()
	}
	return answer{at: at, err: err}
}

// fill reads once. Only the new bytes are searched for line feeds, so that a line costs the same in whatever portions
// it comes.
func (r *Reader) fill() {
	room := r.room()
	a := r.ask(func() answer {
		n, err := r.src.Read(room)
		return answer{n: n, err: err}
	})
	r.whole = 0
	if n := afterLastLine(room[:a.n]); n > 0 {
		r.whole = r.end + n
	}
	r.end += a.n
	r.over = a.err
	if a.err != nil && a.err != io.EOF && a.err != errStopped {
		r.failed(a.err)
	}
}

// afterLastLine returns the length of data up to its last line feed. Most data without one is a piece of a long line,
// for which the forward search is ten times as fast.
func afterLastLine(data []byte) int {
	if bytes.IndexByte(data, '\n') < 0 {
		return 0
	}
	return bytes.LastIndexByte(data, '\n') + 1
}

// room returns where to read to, behind the unfinished line that buf begins with. That line is moved but once, and buf
// grows no further than it takes to tell a long line.
func (r *Reader) room() []byte {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		size := min(2*len(r.buf), r.maxLine+len("\r\n"))
		r.buf = append(make([]byte, 0, max(size, blockSize)), r.buf...)
		r.buf = r.buf[:cap(r.buf)]
	}
	return r.buf[r.end:]
}

// cut takes the next block off what was read; nil says that there is none before more is read.
func (r *Reader) cut() *Block {
	pending := r.buf[r.start:r.end]
	switch {
	case r.long:
		return r.cutLong()
	case r.start < r.whole:
		if n := fitting(r.buf[r.start:r.whole], r.maxLine); n > 0 {
			return r.take(n)
		}
		return r.cutLong()
	case r.exceeds(pending):
		return r.cutLong()
	case r.over != nil && len(pending) > 0:
		return r.take(len(pending))
	}
	return nil
}

// exceeds reports whether an unfinished line is too long already. A last CR may belong to its ending.
func (r *Reader) exceeds(line []byte) bool {
	n := len(line)
	if n == r.maxLine+1 && line[n-1] == '\r' {
		return r.over != nil
	}
	return n > r.maxLine
}

// fitting returns the length of the whole lines with which data begins and none of which is longer than maxLine. It
// leaps: one look back per maxLine bytes, none at all in a block that is shorter.
func fitting(data []byte, maxLine int) int {
	n := 0
	for len(data)-n > maxLine+1 {
		rest := data[n:]
		if i := bytes.LastIndexByte(rest[:maxLine+1], '\n'); i >= 0 {
			n += i + 1
		} else if rest[maxLine] == '\r' && rest[maxLine+1] == '\n' {
			n += maxLine + 2
		} else {
			return n
		}
	}
	return len(data)
}

// cutLong takes what is there of a long line.
func (r *Reader) cutLong() *Block {
	pending := r.buf[r.start:r.end]
	n := bytes.IndexByte(pending, '\n') + 1
	last := n > 0 || r.over != nil
	if n == 0 {
		n = len(pending)
	}
	if n == 0 && !last {
		return nil
	}
	first := !r.long
	r.long = !last
	b := r.take(n)
	b.Long, b.First, b.Last, b.Lines = true, first, last, 0
	if last {
		b.Lines = 1
	}
	return b
}

// take makes a block of the next n bytes.
func (r *Reader) take(n int) *Block {
	b := r.blocks.Get().(*Block)
	b.Name, b.ID, b.Line, b.Offset = r.name, r.id, r.line, r.offset
	if n <= smallBlock || r.over == errStopped { // a Read that was left behind may still write to the buffer
		b.small = append(b.small[:0], r.buf[r.start:r.start+n]...)
		b.Data = b.small[:n:n]
		r.start += n
	} else {
		b.Data = r.buf[r.start : r.start+n : r.start+n]
		r.swap(b, r.start+n)
	}
	feeds := bytes.Count(b.Data, lineFeed)
	b.Lines = feeds
	if n > 0 && b.Data[n-1] != '\n' {
		b.Lines++
	}
	r.line += int64(feeds)
	r.offset += int64(n)
	return b
}

// swap gives the buffer to b and goes on with the one that b had, to which what is behind taken is copied.
func (r *Reader) swap(b *Block, taken int) {
	rest := r.buf[taken:r.end]
	b.buf, r.buf = r.buf, b.buf
	if len(r.buf) < max(len(rest), blockSize) {
		r.buf = make([]byte, max(len(rest), blockSize))
	}
	r.start, r.whole, r.end = 0, max(r.whole-taken, 0), copy(r.buf, rest)
}
