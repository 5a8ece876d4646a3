package filter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// An input is a reader by name, or what keeps it from being opened.
type input struct {
	name string
	r    io.Reader
	err  error
}

// inputs is the Source of some inputs.
type inputs struct {
	todo []input
	io.Reader
}

func (s *inputs) Next() (string, error) {
	if len(s.todo) == 0 {
		return "", io.EOF
	}
	next := s.todo[0]
	s.todo, s.Reader = s.todo[1:], next.r
	return next.name, next.err
}

// from is the Source of one input.
func from(r io.Reader) *inputs { return &inputs{todo: []input{{name: "in", r: r}}} }

// portions gives data in portions of the sizes named, over and over.
type portions struct {
	data  []byte
	sizes []int
}

func (p *portions) Read(buf []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(buf[:min(len(buf), p.sizes[0])], p.data)
	p.data, p.sizes = p.data[n:], append(p.sizes[1:], p.sizes[0])
	return n, nil
}

func failing(tb testing.TB) func(error) {
	return func(err error) { tb.Error(err) }
}

// A line is what blocks say about one line, or the obvious reader does.
type line struct {
	Name    string
	Number  int64
	Offset  int64
	Content string
	Long    bool
}

// linesOf reads r to its end and tells its blocks' lines apart; it checks what blocks promise.
func linesOf(t *testing.T, r *Reader) []line {
	t.Helper()
	var lines []line
	inLong := false
	for b, err := r.Next(); err != io.EOF; b, err = r.Next() {
		if err != nil {
			t.Fatal(err)
		}
		whole := 0
		switch {
		case b.Long && b.First == inLong, !b.Long && inLong:
			t.Fatalf("block %+v while a long line is open: %v", b, inLong)
		case !b.Long:
			before := len(lines)
			lines = appendLines(lines, b)
			whole = len(lines) - before
		case b.First:
			lines = append(lines, line{b.Name, b.Line, b.Offset, string(b.Data), true})
		default:
			last := &lines[len(lines)-1]
			if end := last.Offset + int64(len(last.Content)); b.Offset != end || b.Line != last.Number {
				t.Fatalf("piece of line %d at %d: want line %d at %d", b.Line, b.Offset, last.Number, end)
			}
			last.Content += string(b.Data)
		}
		if b.Last {
			whole = 1
		}
		if b.Lines != whole {
			t.Fatalf("block says that %d lines end in %q, want %d", b.Lines, b.Data, whole)
		}
		inLong = b.Long && !b.Last
		r.Release(b)
	}
	if inLong {
		t.Fatal("a long line never ended")
	}
	return lines
}

func appendLines(lines []line, b *Block) []line {
	number, offset := b.Line, b.Offset
	for content := range bytes.Lines(b.Data) {
		lines = append(lines, line{b.Name, number, offset, string(content), false})
		number++
		offset += int64(len(content))
	}
	return lines
}

// obviousLines is what the Reader must say of input.
func obviousLines(input []byte, maxLine int) []line {
	lines := appendLines(nil, &Block{Data: input, Name: "in", Line: 1})
	for i, l := range lines {
		content, ended := strings.CutSuffix(l.Content, "\n")
		if ended {
			content = strings.TrimSuffix(content, "\r")
		}
		lines[i].Long = len(content) > maxLine
	}
	return lines
}

func TestReaderFraming(t *testing.T) {
	const maxLine = 8
	framings := []string{
		"", "\n", "a", "a\n", "a\nb", "a\nb\n", "\n\n\n", "a\r\nb\r\n", "\r\n\r\n", "\r", "a\n\r", "a\rb\n",
		"\x00\n\x00\x00", "\xff\xfe\n\x80", "é\n",
		"1234567\n", "12345678\n", "123456789\n", "12345678\r\n", "123456789\r\n", "12345678\r", "12345678\rx\n",
		"12345678", "123456789", "1234567890123456789\n", "1234567890123456789", "a\n1234567890123456789\nb\n",
		"123456789\n123456789\n\n123456789", "\n12345678\n", "12345678\n12345678\r\n12345678\r\r\n", "\r\r\r\r\r\r\r\r\r\n",
	}
	for _, framing := range framings {
		for _, sizes := range [][]int{{1}, {2}, {3}, {9, 1}, {10}, {1000}} {
			t.Run(fmt.Sprintf("%q in portions of %v", framing, sizes), func(t *testing.T) {
				in := &portions{[]byte(framing), sizes}
				got := linesOf(t, NewReader(from(in), maxLine, failing(t)))
				if diff := cmp.Diff(obviousLines([]byte(framing), maxLine), got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}
}

// TestReaderLineLimits goes around the sizes at which buffers are changed.
func TestReaderLineLimits(t *testing.T) {
	for _, maxLine := range []int{smallBlock, blockSize - 2, blockSize, blockSize + 1, 3 * blockSize, DefaultMaxLine} {
		for _, length := range []int{maxLine - 1, maxLine, maxLine + 1, maxLine + 2, 3 * maxLine} {
			for _, ending := range []string{"\n", "\r\n", ""} {
				in := []byte("before\n" + strings.Repeat("x", length) + ending)
				if ending != "" {
					in = append(in, "after\n"...)
				}
				got := linesOf(t, NewReader(from(bytes.NewReader(in)), maxLine, failing(t)))
				if diff := cmp.Diff(obviousLines(in, maxLine), got); diff != "" {
					t.Errorf("limit %d, %d bytes and %q: (-want +got)\n%.500s", maxLine, length, ending, diff)
				}
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), 8, uint8(1), uint8(3))                 // every ending
	f.Add([]byte("12345678\r\n123456789\n1234"), 8, uint8(9), uint8(1)) // around the limit
	f.Add(bytes.Repeat([]byte("0123456789\n"), 9000), 9, uint8(255), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, maxLine int, small, large uint8) {
		maxLine = max(1, maxLine)
		in := &portions{data, []int{int(small) + 1, 1024 * (int(large) + 1)}}
		got := linesOf(t, NewReader(from(in), maxLine, failing(t)))
		if diff := cmp.Diff(obviousLines(data, maxLine), got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestReaderNoLimit(t *testing.T) {
	in := strings.Repeat("x", 3*blockSize)
	got := linesOf(t, NewReader(from(strings.NewReader(in)), int(^uint(0)>>1), failing(t)))
	if len(got) != 1 || got[0].Long || got[0].Content != in {
		t.Errorf("got %d lines, want one that is not long", len(got))
	}
}

// TestReaderLineOfAnyLength wants no more than a few buffers for a line of a gigabyte.
func TestReaderLineOfAnyLength(t *testing.T) {
	const length = 1 << 30
	r := NewReader(from(io.LimitReader(endless{}, length)), 0, failing(t))
	var got int64
	for b, err := r.Next(); err == nil; b, err = r.Next() {
		if held := len(b.Data) + len(r.buf); held > 2*DefaultMaxLine+2*blockSize {
			t.Fatalf("%d bytes are held", held)
		}
		got += int64(len(b.Data))
		r.Release(b)
	}
	if got != length {
		t.Errorf("got %d bytes, want %d", got, length)
	}
}

// endless gives whatever the buffer holds, without a line feed.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestReaderGoesOnAfterFailures(t *testing.T) {
	missing, broken := errors.New("missing: no such file"), errors.New("broken: input/output error")
	src := &inputs{todo: []input{
		{name: "first", r: strings.NewReader("1\n2")},
		{name: "missing", err: missing},
		{name: "empty", r: strings.NewReader("")},
		{name: "broken", r: io.MultiReader(strings.NewReader("3\n4"), iotest.ErrReader(broken))},
		{name: "at once", r: iotest.DataErrReader(strings.NewReader("5\n6"))}, // data and io.EOF together
	}}
	var failures []error
	r := NewReader(src, 0, func(err error) { failures = append(failures, err) })
	got := linesOf(t, r)
	want := []line{
		{"first", 1, 0, "1\n", false}, {"first", 2, 2, "2", false},
		{"broken", 1, 0, "3\n", false}, {"broken", 2, 2, "4", false},
		{"at once", 1, 0, "5\n", false}, {"at once", 2, 2, "6", false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(failures) != 2 || failures[0] != missing || failures[1] != broken {
		t.Errorf("reported: %v", failures)
	}
}

// blocking gives data and then blocks until it is closed, when it gives late.
type blocking struct {
	data, late string
	closed     chan struct{}
}

func (r *blocking) Read(p []byte) (int, error) {
	if r.data == "" {
		<-r.closed
		r.data, r.late = r.late, ""
		if r.data == "" {
			return 0, io.EOF
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestReaderStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &blocking{data: "1\n2", late: "late", closed: make(chan struct{})}
		r := NewReader(from(in), 0, failing(t))
		if b, err := r.Next(); err != nil || string(b.Data) != "1\n" {
			t.Fatalf("got %v, %v", b, err)
		}
		go func() {
			synctest.Wait() // until Next is in Read
			r.Stop()
		}()
		rest, err := r.Next()
		if err != nil || string(rest.Data) != "2" {
			t.Fatalf("after Stop: got %v, %v", rest, err)
		}
		close(in.closed)
		synctest.Wait() // until Read has written to its buffer
		if string(rest.Data) != "2" {
			t.Errorf("a Read that was left behind changed the block to %q", rest.Data)
		}
		for range 2 {
			if b, err := r.Next(); err != io.EOF {
				t.Errorf("after the end: got %v, %v", b, err)
			}
		}
	})
}

// TestReaderStopInLongLine wants an end for every line that began.
func TestReaderStopInLongLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &blocking{data: "12345", closed: make(chan struct{})}
		r := NewReader(from(in), 4, failing(t))
		go func() {
			synctest.Wait()
			r.Stop()
		}()
		want := []line{{"in", 1, 0, "12345", true}}
		if diff := cmp.Diff(want, linesOf(t, r)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		close(in.closed)
	})
}

// TestBlocksForgetHugeBuffers wants one huge line not to fatten the blocks to come.
func TestBlocksForgetHugeBuffers(t *testing.T) {
	b := &Block{buf: make([]byte, keptBytes+1), small: make([]byte, 5), spare: make([]byte, 2*keptBytes), Long: true}
	b.recycle()
	if b.buf != nil || b.spare != nil || len(b.small) != 5 || b.Long {
		t.Errorf("kept %d, %d and %d bytes, Long %v", len(b.buf), len(b.small), len(b.spare), b.Long)
	}
}
